"""The published prompts to the letter, and what every kind of reply does."""

import pytest

from memagent.errors import OptionError
from memagent.reading.protocols import Gated, Paper, Update, parse_answer, protocol_named

# Typed from the published code, as a text of its own, so that an edit of the module shows here.
PAPER_UPDATE = """You are presented with a problem, a section of an article that may contain the answer to the problem, and a previous memory. Please read the provided section carefully and update the memory with the new information that helps to answer the problem. Be sure to retain all relevant details from the previous memory while adding any new, useful information.

<problem>\x20
PROBLEM {x}
</problem>

<memory>
MEMORY
</memory>

<section>
CHUNK
</section>

Updated memory:
"""  # noqa: E501
PAPER_ANSWER = """You are presented with a problem and a previous memory. Please answer the problem based on the previous memory and put the answer in \\boxed{}.

<problem>\x20
PROBLEM {x}
</problem>

<memory>
MEMORY
</memory>

Your answer:
"""  # noqa: E501


def test_paper_prompts_are_the_published_ones():
    assert Paper().update_prompt("PROBLEM {x}", "MEMORY", "CHUNK").text == PAPER_UPDATE
    assert Paper().answer_prompt("PROBLEM {x}", "MEMORY").text == PAPER_ANSWER


def test_paper_is_one_segment():
    assert len(Paper().update_prompt("p", "m", "c").segments) == 1


def test_gated_shows_the_memory_last_and_shares_what_stands_before_it():
    one, other = Gated().update_prompt("p", "m1", "c"), Gated().update_prompt("p", "m2", "c")
    assert one.segments[: one.shared] == other.segments[: other.shared]
    assert one.text.endswith("<memory>\nm1\n</memory>")


def test_gated_offers_the_exit_only_where_asked():
    assert "Done" in Gated(may_exit=True).update_prompt("p", "m", "c").text
    assert "Done" not in Gated().update_prompt("p", "m", "c").text


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Keep", Update("keep")),
        (" keep.", Update("keep")),
        ("KEEP - nothing new here", Update("keep")),
        ("Add: The key is 7.", Update("add", "The key is 7.")),
        ("Write:\nA\nB\n", Update("write", "A\nB")),
        ("write\nA", Update("write", "A")),
        ("**Add:** A", Update("add", "A")),
        ("**Add**: A", Update("add", "A")),
        ("`Keep`", Update("keep")),
        ('"Keep"\nsince nothing helps', Update("keep")),
        ("Keep in mind that Clara inherits.", Update("malformed", "Keep in mind that Clara inherits.")),
        ("Write-ahead logging is used.", Update("malformed", "Write-ahead logging is used.")),
        ("Added: A", Update("malformed", "Added: A")),
        ("Add:", Update("empty")),
        ("", Update("empty")),
        ("  \n", Update("empty")),
        ("The key is 7.", Update("malformed", "The key is 7.")),
        ("Keeper of the keys", Update("malformed", "Keeper of the keys")),
        ("Done", Update("malformed", "Done")),
    ],
)
def test_gated_replies(reply, expected):
    assert Gated().parse_update(reply) == expected


def test_done_ends_where_it_was_offered():
    assert Gated(may_exit=True).parse_update("Done") == Update("done")


def test_paper_takes_the_reply_as_it_came():
    assert Paper().parse_update(" a\n") == Update("write", " a\n")
    assert Paper().parse_update(" \n") == Update("empty")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("so \\boxed{42}.", "42"),
        ("\\boxed{1} then \\boxed{ {a}{b} }", "{a}{b}"),
        ("\\fbox{x}", "x"),
        ("\\boxed{open", "\\boxed{open"),
        ("\\boxed{good} and \\boxed{open", "good"),
        ("  plain  ", "plain"),
        ("", ""),
    ],
)
def test_answers(reply, answer):
    assert parse_answer(reply) == answer


def test_bad_protocols_are_refused():
    with pytest.raises(OptionError, match="use paper or gated"):
        protocol_named("papers")
    with pytest.raises(OptionError, match="no exit"):
        protocol_named("paper", may_exit=True)
