"""The filter's questions, samples and sums, with scripted models that know some answers at some samples."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from memagent.errors import EndpointDown, OptionError, TurnRefused
from memagent.evaluation.baselines import no_context
from memagent.evaluation.best_of_n import BestOfN, Plan, distinct
from memagent.evaluation.consulting import Baseline
from memagent.models import ModelOptions
from memagent.models.scripted import Fault, ScriptedModel
from memagent.reading import Journal, Settings
from memagent.tasks.problem import Problem

REFUSED = Fault(error=TurnRefused("not this one"))
BOTH = (ModelOptions(model="base"), ModelOptions(model="instruct"))
# What each model knows of question 0, 1, …: the samples at which it is right, or a fault at each sample.
KNOWN = {
    "base": [{1}, {2}, set(), set(), REFUSED, set()],
    "instruct": [{1, 2}, set(), {1}, set(), REFUSED, {2}],
}


def problem(number, **changes):
    given = {"id": f"p{number}", "task": "t", "question": f"Who is number {number}?", "answers": (f"name {number}",),
             "metric": "em", "context": "A long text."}  # fmt: skip
    return Problem(**{**given, **changes})


@dataclass
class Calls:
    """How many calls are answered before the endpoint goes down, and which were, with their model and seed."""

    left: int = 1000
    answered: Counter[tuple[str, str, int]] = field(default_factory=Counter)


def knowing(name, calls):
    """A model that answers as `KNOWN` says. Seeds are 1000 times the plan's and the sample."""

    def script(request):
        calls.left -= 1
        if calls.left < 0:
            return Fault(error=EndpointDown("gone"))
        text, seed = request.prompt.text, request.sampling.seed
        calls.answered[name, text, seed] += 1
        number = int(text.rpartition("number ")[2].partition("?")[0])
        known = KNOWN[name][number]
        if isinstance(known, Fault):
            return known
        return f"\\boxed{{name {number}}}" if seed % 1000 in known else "\\boxed{nobody}"

    return ScriptedModel(script, name=name)


@pytest.fixture
def calls():
    return Calls()


@pytest.fixture
def models(monkeypatch, calls):
    """The models that are opened, by name."""
    found = {name: knowing(name, calls) for name in KNOWN}

    async def opened(options, report=None):
        return found[options.model]

    monkeypatch.setattr("memagent.evaluation.best_of_n.open_model", opened)
    return found


@pytest.fixture
def ask(models, journal):
    """Ask all questions; the finished `BestOfN`."""

    async def call(problems, plan=None, *, metric=None, on_state=lambda state: None):
        done = BestOfN(distinct(problems, metric), plan or Plan(models=BOTH), journal)
        await done.run(on_state=on_state)
        return done

    return call


async def test_any_hit_of_any_sample_of_any_model_drops_a_question(ask):
    done = await ask([problem(number) for number in range(6)])
    assert done.kept() == {3, 4}
    by = {question.ids[0]: (question.hit.model, question.hit.sample) for question in done.dropped}
    assert by == {"p0": ("base", 1), "p1": ("base", 2), "p2": ("instruct", 1), "p5": ("instruct", 2)}


async def test_nobody_is_asked_what_is_hit_already_and_the_sums_say_so(ask, calls):
    done = await ask([problem(number) for number in range(6)])
    sums = [(tally.model, tally.sample, tally.asked, tally.hits, tally.failed) for tally in done.tallies]
    assert sums == [("base", 1, 6, 1, 1), ("base", 2, 5, 1, 1), ("instruct", 1, 4, 1, 1), ("instruct", 2, 3, 1, 1)]
    assert set(calls.answered.values()) == {1} and calls.answered.total() == 6 + 5 + 4 + 3


async def test_a_question_that_is_refused_is_kept_and_counted(ask):
    done = await ask([problem(4), problem(0)])
    (question,) = done.failed
    assert question.ids == ["p4"] and done.kept() == {0}
    assert done.as_json()["failed"][0]["error"] == "not this one" and done.as_json()["questions"]["failed"] == 1


async def test_a_question_longer_than_the_window_is_kept_and_counted(ask, models):
    models["base"].window = models["instruct"].window = 300
    done = await ask([problem(0, question="word " * 200 + "number 0?"), problem(0)])
    assert done.kept() == {0} and "window" in done.as_json()["failed"][0]["error"]


async def test_problems_that_ask_the_same_are_asked_once(ask, models):
    same = [problem(1, id="short"), problem(1, id="long", context="Longer.", length=9), problem(3)]
    done = await ask(same, Plan(models=BOTH[:1]))
    assert done.kept() == {2} and models["base"].calls == 4
    report = done.as_json()
    assert report["problems"] == {"read": 3, "kept": 1, "dropped": 2}
    assert report["questions"] == {"read": 2, "kept": 1, "dropped": 1, "failed": 0}
    assert report["dropped"][0]["problems"] == ["short", "long"]


async def test_the_same_words_with_other_answers_or_another_metric_are_another_question(ask, models):
    done = await ask([problem(0), problem(0, answers=("nobody",)), problem(0, metric="f1")], Plan(models=BOTH[:1]))
    assert len(done.questions) == 3 and done.kept() == set()
    # "nobody" is what the model says at sample 2.
    assert [question.hit.sample for question in done.questions] == [1, 2, 1]


async def test_the_prompt_is_that_of_the_no_context_baseline(ask, models, calls, tmp_path):
    await ask([problem(3, head="READ THIS: ", tail=" AND ANSWER")], Plan(models=BOTH[:1]))
    other, theirs = Journal(tmp_path / "other"), knowing("base", calls)
    await Baseline("no-context", no_context, theirs, Settings(seed=1), other).attempt(problem(3))
    other.close()
    assert {request.prompt.text for request in models["base"].requests} == {theirs.requests[0].prompt.text}
    assert "A long text." not in theirs.requests[0].prompt.text


async def test_samples_have_seeds_of_their_own(ask, models):
    settings = Settings(temperature=0.7, top_p=0.9, answer_tokens=50)
    for seed in (None, 1):
        await ask([problem(3)], Plan(models=BOTH[:1], samples=3, settings=replace(settings, seed=seed)))
    requests = models["base"].requests
    assert [request.sampling.seed for request in requests] == [1, 2, 3, 1001, 1002, 1003]
    assert {(one.sampling.temperature, one.sampling.top_p, one.max_tokens) for one in requests} == {(0.7, 0.9, 50)}


@pytest.mark.parametrize(("at_least", "kept"), [(1.0, {0}), (0.5, set())])
async def test_a_hit_needs_a_score(ask, at_least, kept):
    # "name 0" against "name zero": one word of two, F1 0.5.
    done = await ask([problem(0, answers=("name zero",))], Plan(models=BOTH[:1], at_least=at_least), metric="f1")
    assert done.kept() == kept and done.questions[0].tries[0].score == 0.5


async def test_going_on_asks_nothing_twice_and_comes_to_the_same(ask, calls, models, monkeypatch, tmp_path):
    monkeypatch.setattr("memagent.evaluation.best_of_n.AT_ONCE", 1)  # so that nothing else is under way at the end
    problems = [problem(number) for number in range(6)]
    for left in (4, 5):
        calls.left = left
        with pytest.raises(EndpointDown):
            await ask(problems)
    calls.left = 100
    done = await ask(problems)
    assert set(calls.answered.values()) == {1} and calls.answered.total() == 18
    calm = BestOfN(distinct(problems), Plan(models=BOTH), Journal(tmp_path / "calm"))
    await calm.run()
    calm._journal.close()
    assert done.as_json() == calm.as_json()


async def test_a_replay_calls_no_model_and_does_not_count_for_the_pace(ask, models):
    models["base"]._script = lambda request: Fault(text="nobody", seconds=0.1)
    problems = [problem(number) for number in range(6)]
    first = await ask(problems, Plan(models=BOTH[:1]))
    again = await ask(problems, Plan(models=BOTH[:1]))
    assert models["base"].calls == 12
    assert again.as_json() == first.as_json()
    assert first.state.weight_before == 0 and again.state.weight_before == again.state.weight == 6
    assert first.state.share == again.state.share == 1.0


async def test_progress_comes_to_its_end(ask):
    shares = []
    await ask([problem(number) for number in range(6)], on_state=lambda state: shares.append(state.share))
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    assert len(shares) == 2 + 6 + 4  # as each model is opened, and a question is settled


async def test_many_questions_are_asked_at_once(ask, models):
    models["base"]._script = lambda request: Fault(text="nobody", seconds=0.001)
    await ask([problem(number) for number in range(100)], Plan(models=BOTH[:1]))
    assert models["base"].most_in_flight == 64 and models["base"].calls == 200


async def test_no_second_model_is_opened_when_nothing_is_left(ask, models):
    done = await ask([problem(0)])
    assert done.kept() == set() and models["base"].closed and not models["instruct"].closed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": Settings(temperature=0)}, "at temperature 0 all samples are the same"),
        ({"models": BOTH + BOTH[:1]}, "two of the models have the same name"),
    ],
)
def test_plans_that_make_no_sense(journal, changes, message):
    with pytest.raises(OptionError, match=message):
        BestOfN([], Plan(**changes), journal)


def test_a_metric_that_does_not_exist():
    with pytest.raises(OptionError, match="there is no metric exact"):
        distinct([problem(0)], "exact")
