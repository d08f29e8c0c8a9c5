"""Where facts stand, and what a chunk holds of them."""

import pytest

from memagent.models.scripted import WordTokenizer
from memagent.tasks import ruler
from memagent.tasks.facts import Fact, cuts, facts_of, within
from memagent.tasks.problem import Problem

TEXT = "Nothing. Ada is here. Nothing. Ben is there. Ada is here. Nothing."


def problem(context=TEXT, facts=("Ben is there.", "Ada is here."), **given):
    return Problem(id="p", task="t", question="?", answers=("x",), metric="em", context=context, facts=facts, **given)


def test_facts_are_found_wherever_they_stand_in_order():
    found = facts_of(problem())
    assert [fact.text for fact in found] == ["Ada is here.", "Ben is there.", "Ada is here."]
    assert all(TEXT[fact.start : fact.end] == fact.text for fact in found)
    assert [fact.start for fact in found] == sorted(fact.start for fact in found)


def test_what_is_not_there_is_no_fact():
    assert facts_of(problem(facts=())) == facts_of(problem(facts=("", "ada is here."))) == ()
    assert facts_of(problem(context="", facts=("Ada is here.",), files=("a.txt",))) == ()


def test_a_fact_that_is_named_twice_counts_once():
    assert len(facts_of(problem(facts=("Ben is there.", "Ben is there.")))) == 1


def test_all_facts_of_ruler_are_found_once():
    for task in ("niah_single_1", "niah_multikey_2", "vt"):
        made = ruler.sample(task, 1500, tokenizer=WordTokenizer(), seed=4)
        assert sorted(fact.text for fact in facts_of(made)) == sorted(made.facts) != []


@pytest.mark.parametrize(
    ("start", "end", "holds", "whole", "cut"),
    [
        (0, 100, "facts", "AB", False),
        (10, 20, "facts", "A", False),
        (9, 20, "nothing", "", False),
        (0, 10, "nothing", "", False),
        (0, 11, "parts", "", True),
        (12, 18, "parts", "", True),
        (19, 30, "parts", "", True),
        (20, 30, "nothing", "", False),
        (15, 50, "facts", "B", True),
        (10, 35, "facts", "A", True),
        (20, 20, "nothing", "", False),
    ],
)
def test_what_a_chunk_holds(start, end, holds, whole, cut):
    """Facts from 10 to 20 and from 30 to 40, whole or in parts, the ends exactly."""
    facts = (Fact("A", 10, 20), Fact("B", 30, 40))
    if (start, end) == (9, 20):
        facts = (Fact("A", 20, 30),)
    found = within(facts, start, end)
    assert (found[0], "".join(fact.text for fact in found[1])) == (holds, whole)
    assert cuts(facts, start, end) is cut
