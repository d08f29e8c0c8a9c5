"""Sections asked other problems: what the turns are made of, and that nothing useful is ever to be kept out."""

import random

import pytest
from tests.training.test_oracle import FILLER, GATED, question, sure

from memagent.errors import OptionError
from memagent.models.tokenizers import load_tokenizer
from memagent.reading import Settings
from memagent.reading.protocols import Gated
from memagent.tasks.problem import Problem
from memagent.training.crossing import crossed, helps
from memagent.training.imitating import _balanced_rows, _plain_rows


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("smollm2-135m")


@pytest.fixture(scope="module")
def other():
    facts = ("The bell of Norr weighs nine tons.",)
    context = FILLER * 9 + facts[0] + " " + FILLER * 9
    return Problem(
        id="o", task="asked", question="What does the bell weigh?", answers=("nine tons",), metric="em",
        context=context, facts=facts,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tokenizer, other):
    turns, refused = sure(tokenizer).trajectories([question(), other])
    assert not refused
    return turns


def said(tokenizer, conversation):
    return tokenizer.decode(conversation.prompt), tokenizer.decode(conversation.completion)


def test_a_section_is_the_shared_part_of_every_turn_that_shows_one(tokenizer, found):
    for one in found:
        shared = tokenizer.decode(one.conversation.prefix)
        assert one.section in shared if one.section else shared == ""
        assert "<problem>" not in shared


def test_other_problems_are_asked_of_a_section_in_the_prompts_own_words(tokenizer, found):
    keep = sure(tokenizer).keep_ids
    first = found[0]
    made = crossed([first], found, 5, keep, random.Random(1))
    assert len(made) == 5
    for conversation in made:
        prompt, reply = said(tokenizer, conversation)
        assert reply == "Keep" and conversation.prefix == first.conversation.prefix
        asked = next(one for one in found if one.section and f"<memory>\n{one.memory}\n</memory>" in prompt
                     and one.problem.question in prompt)  # fmt: skip
        words = Gated().update_prompt(asked.problem.question, asked.memory, first.section).segments
        assert "".join(words) in prompt


def test_what_helps_is_never_to_be_kept_out(tokenizer, found):
    for seed in range(20):
        for one in crossed(found, found, 6, (7,), random.Random(seed)):
            prompt = tokenizer.decode(one.prompt)
            section, rest = prompt.split("</section>")
            for problem in {two.problem.id: two.problem for two in found}.values():
                if problem.question in rest:
                    assert all(fact not in section or fact in rest for fact in problem.facts)


def test_what_a_turn_added_is_not_to_be_added_again(tokenizer, found):
    change = next(one for one in found if one.label == "change")
    (again,) = crossed([change], found, 1, (7,), random.Random(0))
    prompt = tokenizer.decode(again.prompt)
    added = next(fact for fact in change.problem.facts if fact in change.section)
    assert prompt.count(added) == 2 and change.problem.question in prompt


def test_half_a_fact_at_an_end_is_no_ground_for_keeping(found):
    asking = next(one for one in found if one.problem.id == "o")
    assert helps("and so it ends. The bell of Norr wei", asking)
    assert helps("rr weighs nine tons. And so it goes on for a while", asking)
    assert not helps("The bell of Sarr was never weighed at all, they say there.", asking)


def test_an_erring_oracle_adds_what_does_not_help_and_does_not_show_it(tokenizer):
    erring = sure(tokenizer, astray=0.9)
    turns, _ = erring.trajectories([question()])
    straight, _ = sure(tokenizer).trajectories([question()])
    assert len(turns) < len(straight)
    assert any("mill stands" in one.memory for one in turns if one.section)
    assert all("mill stands" not in tokenizer.decode(one.conversation.completion) for one in turns)
    assert tokenizer.decode(turns[-1].conversation.completion).startswith("\\boxed{Velm}")


def test_only_a_protocol_that_keeps_can_be_asked(tokenizer):
    with pytest.raises(OptionError, match="in the gated protocol alone"):
        _ = sure(tokenizer, Settings(protocol="paper", chunk_tokens=90, memory_tokens=200)).keep_ids
    assert tokenizer.decode(sure(tokenizer, GATED).keep_ids) == "Keep"


def test_keeping_weighs_as_much_as_changing_and_both_as_much_as_what_is_said(tokenizer, found):
    keeps = [(one, "keep") for one in crossed(found, found, 6, (7,), random.Random(0))]
    asked = [*((one.conversation, one.label) for one in found), *keeps]
    weighed = _balanced_rows(asked)
    labels = [label for _, label in asked]
    for label in ("keep", "change"):
        gates = [row.first for row, own in zip(weighed, labels, strict=True) if own == label]
        assert sum(gates) == pytest.approx(0.25) and len(set(gates)) == 1
    said = sum(row.weight * (len(row.conversation.completion) - (row.first is not None)) for row in weighed)
    assert said == pytest.approx(0.5)
    assert all(row.first is None for row, own in zip(weighed, labels, strict=True) if own == "answer")
    assert sum(row.weight * len(row.conversation.completion) for row in _plain_rows(asked)) == pytest.approx(1.0)
