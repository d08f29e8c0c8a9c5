"""Evaluations from end to end, with a scripted model and problems of our own."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest
from tests.evaluation.conftest import answering, problem

from memagent.errors import EndpointDown, InputError, OptionError, SetupError, TurnRefused
from memagent.evaluation.folder import ResultFolder
from memagent.evaluation.methods import Attempt, ReadingMethod
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.runner import State, evaluate, score
from memagent.evaluation.suites import Cell, Suite
from memagent.models import ModelOptions
from memagent.models.scripted import Fault, ScriptedModel
from memagent.reading import Settings

SETTINGS = Settings(chunk_tokens=100, memory_tokens=40)
METHODS = ("gated", "paper", "full", "truncated", "no-context", "bm25", "map-reduce")
FILLERS = (20, 60, 200)


def suite(count=3):
    cells = [
        Cell("needle", 20 * fillers, f"{fillers} sentences", count, lambda i, n=fillers: problem(i, fillers=n))
        for fillers in FILLERS
    ]
    return Suite(tuple(cells), ("a note",))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Evaluate `suite()` with `model`; the folder's outcomes."""

    async def call(model, *, resume=False, methods=METHODS, count=3, on_state=lambda state: None, said=None, **changes):
        async def opened(options, report=None):
            return model

        monkeypatch.setattr("memagent.evaluation.runner.open_model", opened)
        monkeypatch.setattr("memagent.evaluation.runner.open_suite", lambda *given, **named: suite(count))
        recipe = Recipe(suite="code", methods=methods, reading=SETTINGS, samples=count, **changes)
        with ResultFolder.open(tmp_path / "out", recipe, resume=resume) as folder:
            report = (lambda line: None) if said is None else said.append
            await evaluate(recipe, folder, on_state=on_state, report=report)
            return list(folder.outcomes)

    return call


async def test_every_method_meets_every_problem_once(run):
    said = []
    outcomes = await run(ScriptedModel(answering, window=800), said=said)
    met = Counter((outcome.method, outcome.label, outcome.index) for outcome in outcomes)
    assert set(met.values()) == {1} and len(met) == len(METHODS) * len(FILLERS) * 3
    assert said == ["opening local", "note: a note"]
    right = Counter((outcome.method, outcome.label) for outcome in outcomes if outcome.score == 1)
    for label in ("20 sentences", "60 sentences", "200 sentences"):
        assert right["gated", label] == right["paper", label] == right["bm25", label] == right["map-reduce", label] == 3
        assert right["no-context", label] == 0
    assert right["full", "20 sentences"] == 3 and right["full", "200 sentences"] == 0


async def test_an_overflow_counts_as_wrong_and_says_why(run):
    outcomes = await run(ScriptedModel(answering, window=800), methods=("full",))
    over = [outcome for outcome in outcomes if outcome.label == "200 sentences"]
    assert {outcome.status for outcome in over} == {"overflow"} and {outcome.score for outcome in over} == {0.0}
    assert all("window" in outcome.error for outcome in over)


async def test_readings_can_be_opened(run, tmp_path):
    from memagent.reading import Journal

    outcomes = await run(ScriptedModel(answering, window=800), methods=("gated", "full"))
    journal = Journal(tmp_path / "out" / "readings")
    for outcome in outcomes:
        assert journal.entry(outcome.reading_id).problem == outcome.question
    read = [outcome for outcome in outcomes if outcome.method == "gated"]
    assert all(any(turn["memory"] for turn in journal.turns(outcome.reading_id)) for outcome in read)
    assert all(outcome.prompt_tokens > outcome.document_tokens > 0 for outcome in read)
    journal.close()


async def test_a_refused_answer_is_a_failure_that_counts(run):
    def refusing(request):
        text = request.prompt.text
        asked = "day 1?" in text and "<section>" not in text
        return Fault(error=TurnRefused("not this one")) if asked else answering(request)

    outcomes = await run(ScriptedModel(refusing, window=800), methods=("gated", "truncated"))
    bad = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert {(outcome.method, outcome.index) for outcome in bad} == {("gated", 1), ("truncated", 1)}
    assert all(outcome.score == 0 and outcome.error == "not this one" and outcome.model_calls for outcome in bad)
    assert len(outcomes) == 18


def test_without_an_answer_every_score_is_0_whatever_was_said():
    (cell, *_) = suite().cells
    for status, points in (("answered", 1.0), ("failed", 0.0), ("overflow", 0.0), ("unread", 0.0)):
        outcome = score(problem(), Attempt(status=status, reply="It is 1000"), cell=cell, index=0, method="full")
        assert outcome.score == points and set(outcome.scores.values()) == {points} and len(outcome.scores) > 1


async def test_a_reading_s_answer_may_be_as_long_as_the_memory_or_the_task_s(settings, journal):
    for given, room in (({}, 40), ({"answer_tokens": 25}, 25), ({"memory_tokens": 10}, 20)):
        model = ScriptedModel(answering, window=800)
        await ReadingMethod("gated", model, replace(settings, **given), journal).attempt(problem(max_tokens=20))
        assert model.requests[-1].max_tokens == room


async def test_resuming_asks_only_what_was_under_way(run, tmp_path):
    from memagent.reading import Journal

    answered, left = [0], [0]

    def dying(request):
        left[0] -= 1
        if left[0] < 0:
            return Fault(error=EndpointDown("gone"))
        answered[0] += 1
        return answering(request)

    for budget in (30, 60, 10_000):
        left[0] = budget
        model = ScriptedModel(dying, window=800)
        if budget < 10_000:
            with pytest.raises(EndpointDown):
                await run(model, methods=("gated",), resume=budget != 30, at_once=3)
        else:
            outcomes = await run(model, methods=("gated",), resume=True, at_once=3)
    assert len(outcomes) == 9 and all(outcome.score == 1 for outcome in outcomes)
    journal = Journal(tmp_path / "out" / "readings")
    needed = sum(len(journal.turns(outcome.reading_id)) + 1 for outcome in outcomes)
    journal.close()
    assert needed > 90 and answered[0] <= needed + 2 * 3


async def test_at_most_so_many_problems_at_once(run):
    model = ScriptedModel(lambda request: Fault(text="Keep", seconds=0.001), window=800)
    await run(model, methods=("no-context",), at_once=2, count=6)
    assert model.most_in_flight == 2


async def test_progress_comes_to_its_end(run):
    shares = []

    def watch(state: State):
        shares.append(state.share)
        assert state.total == 18

    await run(ScriptedModel(answering, window=800), methods=("gated", "full"), on_state=watch)
    assert shares[-1] == 1.0 and shares == sorted(shares) and len(set(shares)) > 10


async def test_unknown_methods(run):
    with pytest.raises(OptionError, match="there is no method fool"):
        await run(ScriptedModel(answering), methods=("fool",))


async def test_chunks_that_never_fit_are_the_users_mistake(run):
    with pytest.raises(OptionError, match="do not fit"):
        await run(ScriptedModel(answering, window=150), methods=("gated",))


async def test_peaks_are_measured(run, tmp_path):
    import json

    await run(ScriptedModel(answering, window=800), methods=("full",))
    peaks = json.loads((tmp_path / "out" / "peaks.json").read_text())
    assert [peak["length"] for peak in peaks] == [400, 1200, 4000]
    assert all(peak["resident"] > 10_000_000 for peak in peaks)


def test_seconds_left_needs_some_work_done():
    state = State(total=2, weight=100.0, weight_done=20.0, weight_before=20.0, began=time.monotonic() - 60)
    assert state.seconds_left is None
    state.weight_done = 60.0
    assert state.share == 0.6 and state.seconds_left == pytest.approx(60.0, abs=1.0)
    state.began = time.monotonic() - 1  # a second's pace is noise
    assert state.seconds_left is None


async def test_interrupting_leaves_what_is_done(run, tmp_path):
    model = ScriptedModel(lambda request: Fault(text="x", seconds=0.01), window=800)
    task = asyncio.ensure_future(run(model, methods=("no-context",), at_once=1))
    await asyncio.sleep(0.08)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert 0 < len(lines) < 9


class Opened:
    """Opens scripted models and keeps count of those that are open."""

    def __init__(self):
        self.open, self.most, self.names, self.ropes = 0, 0, [], []

    async def __call__(self, options, report=None):
        self.names.append(options.model)
        self.ropes.append(options.rope)
        self.open += 1
        self.most = max(self.most, self.open)
        model = ScriptedModel(answering, window=800)
        close = model.aclose

        async def aclose():
            self.open -= 1
            await close()

        model.aclose = aclose
        return model


@pytest.fixture
def opened(monkeypatch):
    found = Opened()
    monkeypatch.setattr("memagent.evaluation.runner.open_model", found)
    monkeypatch.setattr("memagent.evaluation.runner.open_suite", lambda *given, **named: suite(2))
    return found


async def evaluated(path, *models):
    recipe = Recipe(suite="code", methods=("gated", "no-context"), models=models, reading=SETTINGS, samples=2)
    with ResultFolder.open(path, recipe, resume=True) as folder:
        await evaluate(recipe, folder)
        return folder.outcomes


async def test_a_local_model_is_opened_anew_for_each_method_and_length(opened, tmp_path):
    models = ModelOptions(), ModelOptions(model="local:b")
    assert len(await evaluated(tmp_path, *models)) == 2 * 2 * 2 * 3
    # Once for lengths and settings, then for three lengths of two methods.
    assert Counter(opened.names) == {"local": 7, "local:b": 7} and opened.most == 1 and opened.open == 0


async def test_an_endpoint_stays_open(opened, tmp_path):
    await evaluated(tmp_path, ModelOptions(model="x"), ModelOptions(model="y"))
    assert opened.names == ["x", "y"] and opened.open == 0


async def test_nothing_left_to_do_opens_no_second_model(opened, tmp_path):
    models = ModelOptions(model="x"), ModelOptions(model="y")
    await evaluated(tmp_path, *models)
    opened.names.clear()
    assert len(await evaluated(tmp_path, *models)) == 24 and opened.names == ["x"]


async def test_problems_that_cannot_be_made_show_before_anything_is_asked(opened, monkeypatch, tmp_path):
    def missing(index):
        raise SetupError("the data is not here")

    cells = (*suite(2).cells, Cell("needs data", 400, "400", 1, missing), Cell("none", 100, "100", 0, missing))
    monkeypatch.setattr("memagent.evaluation.runner.open_suite", lambda *given, **named: Suite(cells))
    with pytest.raises(SetupError, match="the data is not here"):
        await evaluated(tmp_path / "out", ModelOptions(model="x"))
    assert opened.open == 0 and not (tmp_path / "out").exists()
    monkeypatch.setattr("memagent.evaluation.runner.open_suite", lambda *given, **named: Suite(cells[-1:]))
    with pytest.raises(InputError, match="code holds no problem"):
        await evaluated(tmp_path / "out", ModelOptions(model="x"))


async def test_positions_are_stretched_as_far_as_documents_need(opened, monkeypatch, tmp_path):
    fillers = max(FILLERS)
    cells = [Cell("own", n, f"{n} documents", 2, lambda i, n=n: problem(i, fillers=n)) for n in FILLERS]
    monkeypatch.setattr("memagent.evaluation.runner.open_suite", lambda *given, **named: Suite(tuple(cells)))
    recipe = Recipe(suite="code", methods=("full+yarn",), samples=2)
    with ResultFolder.open(tmp_path, recipe, resume=True) as folder:
        await evaluate(recipe, folder)
    needed = ScriptedModel(answering).tokenizer.count(problem(fillers=fillers).context)
    kind, _, tokens = opened.ropes[-1].partition("@")
    assert kind == "yarn" and needed + 1024 < int(tokens) < 1.2 * needed + 1024
