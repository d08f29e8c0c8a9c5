"""What a step draws is a function of seed, step and attempt, balanced over sources, and apart from what validates."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.tasks.made_up import dataset, documents, one_line

from memagent.errors import InputError, MemagentError, OptionError
from memagent.models.scripted import WordTokenizer
from memagent.tasks import records
from memagent.tasks.problem import Problem
from memagent.tasks.qa import side
from memagent.training.mixture import Mixture, Shares, validation
from memagent.training.recipe import Curriculum, Recipe, Source, Validation

TOKENIZER = WordTokenizer()
NOISE = Source(task="niah_single_1", tokens=(400, 600, 900))


def mixture(*sources, batch=4, curriculum=None, seed=7, **given):
    return Mixture(sources, TOKENIZER, seed=seed, curriculum=curriculum or Curriculum(), batch=batch, **given)


def write(path, count, *, name="jsonl", **changes):
    """A file of problems, each with a question of its own."""
    made = Problem(id="", task="t", question="", answers=("x",), metric="em", context="The tin is lost. " * 5)
    found = [replace(made, id=f"p{at}", question=f"Where is {at}?", **changes) for at in range(count)]
    records.write(path, found, name)
    return str(path)


def ids(problems):
    return [problem.id for problem in problems]


def recipe(*data, problems=6, **given):
    return Recipe(data=data, validation=Validation(problems=problems, **given))


def test_a_draw_depends_on_seed_step_and_attempt_alone():
    source = Source(task="niah_multikey_2", tokens=(700,))
    one, again = mixture(source, NOISE, refills=2), mixture(source, NOISE, refills=2)
    first = one.draw(3, 4, attempt=1)
    for other in (0, 5, 3):
        again.draw(other, 4)
    assert again.draw(3, 4, attempt=1) == first == one.draw(3, 4, attempt=1)
    assert again.draw(3, 2, attempt=1) == first[:2]
    drawn = [first, one.draw(3, 4), one.draw(3, 4, attempt=2), one.draw(2, 4, attempt=1)]
    drawn.append(mixture(source, NOISE, refills=2, seed=8).draw(3, 4, attempt=1))
    assert len({problem.context for problems in drawn for problem in problems}) == 20


def digest(own, questions):
    """Of what is drawn from all kinds of sources."""
    data = (
        Source(task="vt", tokens=(1400,)),
        Source(task="file", file=own),
        Source(task="hotpotqa", file=questions, documents=(12,)),
    )
    held = validation(recipe(*data), TOKENIZER)
    made = mixture(*data, batch=6, refills=1, held_out=held)
    drawn = [held, made.draw(5, 6), made.draw(5, 3, 1)]
    return hashlib.sha256(repr(drawn).encode()).hexdigest()


def test_another_process_draws_the_same(tmp_path, monkeypatch):
    files = [write(tmp_path / "own.jsonl", 20), dataset(tmp_path, "hotpotqa", 20)]
    monkeypatch.setenv("PYTHONHASHSEED", "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2")
    script = "import sys; from tests.training.test_mixture import digest; print(digest(*sys.argv[1:]))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, *files], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(*files)


@pytest.mark.parametrize("weights", [(1,), (1, 1), (5, 3, 1), (0.1, 0.7, 0.2, 1e-3), (1, 2, 3, 4, 5, 6)])
def test_every_stretch_has_every_share(weights):
    shares, total = Shares(weights), sum(weights)
    counts = [shares.before(place) for place in range(400)]
    assert all(sum(count) == place for place, count in enumerate(counts))
    for before, behind in pairwise(counts):
        assert sorted(b - a for a, b in zip(before, behind, strict=True)) == [0] * (len(weights) - 1) + [1]
    for start in range(0, 300, 7):
        for length in (8, 40, 100):
            for number, weight in enumerate(weights):
                here = counts[start + length][number] - counts[start][number]
                assert abs(here - length * weight / total) < 2


def test_sources_have_their_shares_in_the_batches(tmp_path):
    sources = [
        replace(NOISE, weight=5),
        Source(task="niah_multikey_2", tokens=(500,), weight=2),
        Source(task="file", file=write(tmp_path / "own.jsonl", 9)),
    ]
    made = mixture(*sources, batch=4)
    for first in (0, 13):
        tasks = Counter(problem.task for step in range(first, first + 10) for problem in made.draw(step, 4))
        assert all(abs(tasks[task] - share) <= 1 for task, share in [("niah_single_1", 25), ("niah_multikey_2", 10)])
    orders = {tuple(problem.task for problem in made.draw(step, 4)) for step in range(10)}
    assert len(orders) > 3


def test_lengths_rise_geometrically_and_come_equally_often():
    made = mixture(NOISE, curriculum=Curriculum(first=225, steps=8), batch=6)
    assert [round(made.bound(step)) for step in (0, 4, 8, 100)] == [225, 450, 900, 900]
    targets = [Counter(problem.notes["target"] for problem in made.draw(step, 6)) for step in (0, 4, 6, 8)]
    assert targets == [{400: 6}, {400: 6}, {400: 3, 600: 3}, {400: 2, 600: 2, 900: 2}]
    assert all(problem.length <= problem.notes["target"] for problem in made.draw(8, 6))


def test_lengths_take_turns_even_where_a_step_has_one_problem():
    made = mixture(replace(NOISE, tokens=(400, 600)), batch=1, refills=1)
    drawn = [Counter(made.draw(step, 1, attempt)[0].notes["target"] for step in range(8)) for attempt in (0, 1)]
    assert drawn == [{400: 4, 600: 4}] * 2


def test_documents_count_in_tokens_for_the_curriculum(tmp_path):
    source = Source(task="hotpotqa", file=dataset(tmp_path, "hotpotqa", 20), documents=(10, 40))
    counted = [
        Counter(problem.notes["num_docs"] for problem in mixture(source, curriculum=curriculum).draw(0, 4))
        for curriculum in (Curriculum(), Curriculum(first=1000, steps=9))
    ]
    assert counted == [{10: 2, 40: 2}, {10: 4}]


def test_a_file_is_read_once_an_epoch_in_a_new_order_each_time(tmp_path):
    made = mixture(Source(task="file", file=write(tmp_path / "own.jsonl", 10)), NOISE, batch=4)
    drawn = [p.id for step in range(15) for p in made.draw(step, 4) if p.task == "t"]
    epochs = [drawn[at : at + 10] for at in (0, 10, 20)]
    assert all(set(epoch) == {f"p{at}" for at in range(10)} for epoch in epochs)
    # Within a step the order is drawn by itself: what an epoch begins with shows that it was shuffled.
    assert len({tuple(sorted(epoch[:2])) for epoch in epochs}) > 1


def test_refills_come_from_the_same_epoch(tmp_path):
    made = mixture(Source(task="file", file=write(tmp_path / "own.jsonl", 24)), batch=4, refills=2)
    for epoch in (0, 1):
        drawn = [ids(made.draw(2 * epoch + step, 4, attempt)) for step in (0, 1) for attempt in (0, 1, 2)]
        assert sorted(one for problems in drawn for one in problems) == sorted(f"p{at}" for at in range(24))
    with pytest.raises(ValueError, match="2 refills"):
        made.draw(0, 4, attempt=3)
    with pytest.raises(ValueError, match="4 problems"):
        made.draw(0, 5)


@pytest.mark.parametrize("name", ["train-parquet", "eval-json", "memagent", "jsonl"])
def test_files_of_all_formats_are_learnt_from(tmp_path, name):
    suffix = {"train-parquet": "parquet", "eval-json": "json"}.get(name, "jsonl")
    file = write(tmp_path / f"own.{suffix}", 5, name=name)
    drawn = mixture(Source(task="file", file=file), batch=5).draw(0, 5)
    assert {problem.question for problem in drawn} == {f"Where is {at}?" for at in range(5)}
    assert all(problem.answers == ("x",) and "tin" in problem.context for problem in drawn)


def test_a_dataset_of_the_hub_is_a_file_too(tmp_path, monkeypatch):
    file = write(tmp_path / "own.json", 3, name="eval-json")
    asked = []

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        return json.loads(Path(file).read_text(encoding="utf-8"))

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    drawn = mixture(Source(task="file", file="hub:them/theirs"), batch=3).draw(0, 3)
    assert asked == [("them/theirs", None, "train")]
    assert {problem.question for problem in drawn} == {f"Where is {at}?" for at in range(3)}
    monkeypatch.setattr("datasets.load_dataset", lambda *given, **more: [{"text": "no problem"}])
    with pytest.raises(InputError, match="record 1 is of no known format"):
        mixture(Source(task="file", file="hub:them/theirs"))


def test_distractors_and_haystacks_are_those_of_the_training(tmp_path):
    file = dataset(tmp_path, "hotpotqa", 20)
    for split in ("train", "all"):
        source = Source(task="hotpotqa", file=file, documents=(20,), split=split)
        for problem in mixture(source).draw(0, 4):
            titles = [body.partition("\n")[0] for body in documents(problem.context).values()]
            number = problem.notes["question_id"].removeprefix("hq")
            others = [title for title in titles if number != title.split(" ")[-1].split("-")[0]]
            assert len(others) == 10 and all(side(title) == "train" for title in others)


def test_haystacks_are_those_of_their_side(monkeypatch):
    taken = []
    monkeypatch.setattr("memagent.tasks.ruler.sample", lambda *given, haystack, **more: taken.append(haystack))
    mixture(NOISE).draw(0, 2)
    validation(recipe(NOISE, problems=3), TOKENIZER)
    assert taken == ["train"] * 2 + ["report"] * 3


def test_facts_in_prose_are_a_task_like_the_needles():
    source = Source(task="prose", tokens=(400,), anywhere=True)
    drawn = mixture(source).draw(0, 4)
    held = validation(recipe(source, problems=4), TOKENIZER)
    assert {problem.task for problem in [*drawn, *held]} == {"prose"}
    assert not {problem.question for problem in drawn} & {problem.question for problem in held}
    with pytest.raises(OptionError, match="prose needs at least"):
        mixture(replace(source, tokens=(200,)))


def test_a_source_may_name_the_score_of_its_answers(tmp_path):
    sources = (
        Source(task="vt", tokens=(1400,)),
        Source(task="file", file=write(tmp_path / "own.jsonl", 20)),
        Source(task="hotpotqa", file=dataset(tmp_path, "hotpotqa", 20), documents=(12,)),
    )
    named = tuple(replace(one, metric="contains") for one in sources)
    learnt = [mixture(*given, batch=6).draw(2, 6) for given in (sources, named)]
    held = [validation(recipe(*given), TOKENIZER) for given in (sources, named)]
    for own, other in (learnt, held):
        assert {problem.metric for problem in own} == {"ruler_all", "em", "sub_em"}
        assert other == [replace(problem, metric="contains") for problem in own]


def test_a_question_too_long_comes_at_the_next_longer_length(tmp_path):
    file = dataset(tmp_path, "hotpotqa", 20)
    source = Source(task="hotpotqa", file=file, tokens=(200, 570, 6000))
    drawn = mixture(source, batch=20).draw(0, 20)
    assert len(set(ids(drawn))) == 20
    targets = Counter(problem.notes["target"] for problem in drawn)
    assert targets[570] > 3 and targets[6000] > 20 // 3 + 1
    assert all(problem.length <= problem.notes["target"] for problem in drawn)
    short = mixture(replace(source, tokens=(570,)), batch=2)
    assert "questions left out, as they need more than 570 tokens" in short.notes[0]


def test_validation_is_the_same_for_every_run_and_balanced():
    data = (replace(NOISE, weight=2), Source(task="vt", tokens=(1400,)))
    made = recipe(*data, problems=9)
    held = validation(made, TOKENIZER)
    assert held == validation(replace(made, seed=99), TOKENIZER)
    assert Counter(problem.task for problem in held) == {"niah_single_1": 6, "vt": 3}
    assert Counter(problem.notes["target"] for problem in held) == {400: 2, 600: 2, 900: 2, 1400: 3}
    assert validation(recipe(*data, problems=0), TOKENIZER) == []


def test_needles_that_validate_are_not_learnt():
    data = (NOISE, Source(task="niah_multikey_3", tokens=(900,)), Source(task="vt", tokens=(1400,)))
    held = validation(recipe(*data, problems=12), TOKENIZER)
    made = mixture(*data, batch=12, seed=0)
    learnt = [problem for step in range(4) for problem in made.draw(step, 12)]
    assert all(problem.facts for problem in learnt)
    assert not {fact for p in held for fact in p.facts} & {fact for p in learnt for fact in p.facts}
    assert not {problem.question for problem in held} & {problem.question for problem in learnt}


@pytest.mark.parametrize("split", [None, "train"])
def test_questions_that_validate_are_never_learnt(tmp_path, split):
    """A file without questions of the split dev gives some of its own, which the training leaves out."""
    file = dataset(tmp_path, "hotpotqa", 40, split=split)
    data = (
        Source(task="hotpotqa", file=file, documents=(12,)),
        Source(task="file", file=write(tmp_path / "o.jsonl", 9)),
    )
    held = validation(recipe(*data, problems=8), TOKENIZER)
    made = mixture(*data, batch=10, held_out=held)
    learnt = {problem.question for step in range(9) for problem in made.draw(step, 10)}
    assert len(learnt) == 49 - 8 and len({problem.question for problem in held}) == 8
    assert not learnt & {problem.question for problem in held}


def test_questions_of_the_split_dev_validate(tmp_path):
    both = tmp_path / "both.jsonl"
    parts = [dataset(tmp_path / split, "hotpotqa", count, split=split) for split, count in (("train", 30), ("dev", 12))]
    lines = [line for part in parts for line in Path(part).read_text().splitlines(keepends=True)]
    renamed = [line.replace('"hq', '"dev') if '"split": "dev"' in line else line for line in lines]
    both.write_text("".join(renamed), encoding="utf-8")
    source = Source(task="hotpotqa", file=str(both), documents=(12,))
    held = validation(recipe(source, problems=12), TOKENIZER)
    assert {problem.notes["split"] for problem in held} == {"dev"} and len(held) == 12
    assert {problem.notes["split"] for problem in mixture(source, batch=18).draw(0, 18)} == {"train"}


def test_validation_may_have_data_of_its_own(tmp_path):
    own = Source(task="file", file=write(tmp_path / "own.jsonl", 5))
    held = validation(recipe(NOISE, problems=5, data=(own,)), TOKENIZER)
    assert set(ids(held)) == {f"p{at}" for at in range(5)}


def test_validation_must_leave_something_to_learn(tmp_path):
    source = Source(task="file", file=write(tmp_path / "own.jsonl", 10))
    with pytest.raises(InputError, match=r"validation takes 11 problems of .*own\.jsonl, which has 10"):
        validation(recipe(source, problems=11), TOKENIZER)
    held = validation(recipe(source, problems=6), TOKENIZER)
    with pytest.raises(InputError, match="validation takes 6 of the 10 problems") as error:
        mixture(source, held_out=held)
    one_line(error)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source(task="niah_singel_1", tokens=(400,)), "there is no task niah_singel_1"),
        (Source(task="vt"), "vt: say how long its documents are"),
        (Source(task="vt", tokens=(300, 9000)), "vt needs at least .* tokens to be learnt: 300 are too few"),
        (Source(task="vt", documents=(9,)), "vt is generated"),
        (Source(task="vt", tokens=(9000,), file="x.jsonl"), "vt is generated"),
        (Source(task="vt", tokens=(9000,), metric="exact"), "there is no metric exact"),
        (Source(task="hotpotqa", tokens=(9000,)), "hotpotqa: name its data as file"),
        (Source(task="hotpotqa", file="GOOD"), "hotpotqa: say how long"),
        (Source(task="hotpotqa", file="absent.json", tokens=(9000,)), "there is no file absent.json"),
        (Source(task="hotpotqa", file="GOOD", tokens=(60,)), "no problem of 60 tokens or fewer: the smallest needs"),
        (Source(task="hotpotqa", file="GOOD", documents=(9,)), "no problem of 9 documents or fewer: the smallest"),
        (Source(task="hotpotqa", file="GOOD", documents=(12,), split="dev"), "the split dev is for reporting"),
        (Source(task="hotpotqa", file="ONE", documents=(12,)), "too few paragraphs"),
        (Source(task="file"), "file: name its data"),
        (Source(task="file", file="absent.jsonl"), "absent.jsonl"),
        (Source(task="file", file="OWN", tokens=(400,)), "are as they are: leave out tokens"),
        (Source(task="file", file="UNANSWERED"), "UNANSWERED, record 2 .*: there is no answer"),
        (Source(task="file", file="BLANK"), "BLANK: the problem .* has no answer to learn from"),
        (Source(task="file", file="EMPTY"), "EMPTY: the problem .* has no document"),
    ],
)  # fmt: skip
def test_bad_data_is_one_line_before_the_first_step(tmp_path, monkeypatch, source, says):
    monkeypatch.chdir(tmp_path)
    dataset(tmp_path, "hotpotqa", 20)
    (tmp_path / "hotpotqa.jsonl").rename("GOOD")
    dataset(tmp_path, "hotpotqa", 1)
    (tmp_path / "hotpotqa.jsonl").rename("ONE")
    record = {"input": "Where?", "context": "The tin is lost.", "answers": ["x"]}
    rows = {"OWN": {}, "UNANSWERED": {"answers": []}, "BLANK": {"answers": [" "]}, "EMPTY": {"context": " "}}
    for name, changes in rows.items():
        (tmp_path / name).write_text(json.dumps([record, {**record, **changes}]))
    with pytest.raises(MemagentError, match=says) as error:
        mixture(source)
    one_line(error)
    assert error.value.exit_status == 2


@pytest.mark.parametrize("curriculum", [Curriculum(steps=5), Curriculum(first=-1), Curriculum(first=9, steps=-2)])
def test_a_curriculum_that_makes_no_sense_is_refused(curriculum):
    with pytest.raises(OptionError, match="curriculum"):
        mixture(NOISE, curriculum=curriculum)
