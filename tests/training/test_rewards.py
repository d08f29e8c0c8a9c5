"""Rewards: the answer's score, and bonuses that say what they say."""

import math

import pytest

from memagent.errors import OptionError
from memagent.models.scripted import WordTokenizer
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.result import Coverage, Reading, Turn, Usage
from memagent.tasks.problem import Problem
from memagent.training.rewards import Read, RewardSettings, false_changes, gate_share, reward_of

FACT = "Ada is here."
#        0        9            22       31           44      52
TEXT = "Nothing. Ada is here. Nothing. Ada is here. Nothing."


def problem(**changes):
    given = {"answers": ("Ada",), "metric": "em", "context": TEXT, "facts": (FACT,), **changes}
    return Problem(id="p", task="t", question="Who?", **given)


def turns(*read):
    """Chunks as (start, end, whether the memory changed)."""
    return [
        Turn(chunk=str(number), start=start, end=end, outcome="add" if changed else "keep", memory="", changed=changed)
        for number, (start, end, changed) in enumerate(read)
    ]


def read(reply="\\boxed{Ada}", *, memory=NO_MEMORY, cut_off=False, chunks=((0, 52, True),)):
    reading = Reading(
        problem="Who?", answer="", status="answered", evidence=(), memory=memory, coverage=Coverage(), usage=Usage(),
        reading_id="r", settings={}, reply=reply,
    )  # fmt: skip
    return Read(reading=reading, turns=turns(*chunks), cut_off=cut_off)


def parts(made, asked=None, *, memory_tokens=10, **settings):
    reward = reward_of(RewardSettings(**settings), memory_tokens=memory_tokens, tokenizer=WordTokenizer())
    return reward(asked or problem(), made)


def test_the_score_is_the_problems_metric_of_the_whole_reply():
    assert parts(read()) == {"score": 1.0}
    assert parts(read("So it is \\boxed{Ben}")) == {"score": 0.0}
    several = problem(answers=("12", "34", "56", "78"), metric="ruler_all")
    assert parts(read("\\boxed{12, 56}"), several) == {"score": 0.5}


def test_a_runs_own_metric_stands_in_for_the_problems():
    assert parts(read("It is Ada \\boxed{Ada Quist}"), metric="contains") == {"score": 1.0}
    assert parts(read("It is Ada \\boxed{Ada Quist}"), metric="reward_boxed") == {"score": 0.0}


@pytest.mark.parametrize(
    ("chunks", "share"),
    [
        ([(0, 9, False), (9, 22, True), (22, 31, False)], 1.0),
        ([(0, 9, True), (9, 22, False), (22, 31, True)], 0.0),
        ([(0, 9, True), (9, 22, True), (22, 31, False)], 2 / 3),
        # Neither is wrong where a fact is cut, nor where it stood in an earlier chunk.
        ([(0, 12, True), (12, 31, False), (31, 44, True), (44, 52, True)], 0.5),
        ([(0, 22, True), (22, 52, False)], 1.0),
        ([(0, 22, True), (22, 52, True)], 1.0),
        ([(0, 22, False), (22, 52, True)], 0.0),
        ([(0, 12, True), (12, 15, False)], 1.0),
        ([], 1.0),
    ],
)
def test_the_gate_is_paid_for_right_decisions(chunks, share):
    assert gate_share(problem(), turns(*chunks)) == pytest.approx(share)
    assert parts(read(chunks=chunks), gate=0.2)["gate"] == pytest.approx(0.2 * share)


def test_where_no_facts_are_known_every_gate_is_right():
    unknown = problem(facts=())
    assert gate_share(unknown, turns((0, 9, True), (9, 52, False))) == 1.0
    assert false_changes(unknown, turns((0, 9, True))) is None


def test_false_changes_are_those_without_any_part_of_a_fact():
    assert false_changes(problem(), turns((0, 9, True), (9, 15, True), (15, 31, True), (22, 31, True))) == 2
    assert false_changes(problem(), turns((0, 9, False), (9, 22, True))) == 0


def test_what_an_exit_spared_is_paid_where_the_answer_is_right():
    early = [(0, 22, True)]
    assert parts(read(chunks=early), exit=0.5)["exit"] == pytest.approx(0.5 * (1 - 22 / 52))
    assert parts(read("\\boxed{no}", chunks=early), exit=0.5)["exit"] == 0
    assert parts(read(), exit=0.5)["exit"] == 0
    asked = problem(context="", facts=(), files=("a.txt",))
    assert parts(read(chunks=[]), exit=0.5)["exit"] == parts(read(chunks=[]), asked, exit=0.5)["exit"] == 0
    assert parts(read(chunks=early), asked, exit=0.5)["exit"] == 0


@pytest.mark.parametrize(("memory", "free"), [("one two three", 0.7), ("one " * 40, 0.0), ("", 1.0)])
def test_a_short_memory_is_paid_where_the_answer_is_right(memory, free):
    assert parts(read(memory=memory), brevity=0.1)["brevity"] == pytest.approx(0.1 * free)
    assert parts(read("\\boxed{no}", memory=memory), brevity=0.1)["brevity"] == 0


def test_what_reached_a_limit_is_paid_for():
    assert parts(read(cut_off=True), overlong=0.3) == {"score": 1.0, "overlong": -0.3}
    assert parts(read(), overlong=0.3) == {"score": 1.0, "overlong": 0.0}
    assert parts(read(cut_off=True)) == {"score": 1.0}


@pytest.mark.parametrize("name", ["gate", "exit", "brevity", "overlong"])
@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_are_0_or_more(name, weight):
    with pytest.raises(OptionError, match=f"{name} must be 0 or more"):
        RewardSettings(**{name: weight}).check()


def test_metrics_have_to_exist():
    RewardSettings(metric="multi_value", gate=0.1).check()
    with pytest.raises(OptionError, match="there is no metric boxed"):
        RewardSettings(metric="boxed").check()
