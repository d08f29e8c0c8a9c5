"""Document and problem are told apart inside a message, and a history that is too long becomes a document."""

import time

import pytest

from memagent.serving.messages import LONGEST_PROBLEM, VERBATIM, Asked, Said, asked, split

LONG = "The grass is green. The sky is blue. " * 200


@pytest.mark.parametrize(
    ("text", "document", "problem"),
    [
        (f"{LONG}\n\nWho?", LONG.strip(), "Who?"),
        (f"{LONG}\nWho?", LONG.strip(), "Who?"),  # as RULER's prompts end
        (f"Who?\n\n{LONG}", LONG.strip(), "Who?"),
        (f"<document>\n{LONG}\n</document>\nWho?", LONG, "Who?"),
        (f"Who?\n<context>{LONG}</context>\nSay why.", LONG, "Who?\n\nSay why."),
        ("<document>a</document><document name='b'>b</document> Who?", "a\n\nb", "Who?"),
        ("Who?", "", "Who?"),
        ("One line.\nAnother?", "", "One line.\nAnother?"),
        (LONG.strip(), LONG.strip(), ""),
        ("A short text.\n\nWho?", "A short text.", "Who?"),
        (f"{LONG}\n \t\nWho?\n\n", LONG.strip(), "Who?"),
    ],
)
def test_a_message_is_split(text, document, problem):
    found = split(text)
    assert [" ".join(part.split()) for part in found] == [" ".join(part.split()) for part in (document, problem)]


def test_a_long_last_paragraph_is_no_problem():
    lines = "\n".join(["A line of the listing."] * 400)
    assert split(f"Intro.\n\n{lines}\nWhat is listed?")[1] == "What is listed?"
    assert split(f"What is listed?\n\n{lines}" + "x" * LONGEST_PROBLEM)[1] == "What is listed?"


def test_nothing_is_lost_in_a_split():
    for text in (f"{LONG}\n\nWho?", f"{LONG}\nWho?", f"Who?\n\n{LONG}"):
        document, problem = split(text)
        assert sorted(f"{document} {problem}".split()) == sorted(text.split())


def test_instructions_go_with_the_problem_and_long_ones_are_read():
    short = asked([Said("system", "Be brief."), Said("user", f"{LONG}\n\nWho?")])
    assert short == Asked(LONG.strip(), "Be brief.\n\nWho?")
    long = asked([Said("system", "Rule. " * 1000), Said("user", f"{LONG}\n\nWho?")])
    assert long.problem == "Who?" and long.document.startswith("Rule. Rule.") and long.document.endswith("blue.")


def test_of_a_history_the_newest_turns_stay():
    old = [Said("user", f"Old {number} " + "x" * 900) for number in range(20)]
    found = asked([*old, Said("assistant", "Yes."), Said("user", "Who?")])
    assert found.document.startswith("User: Old 0 ") and "Old 19 " not in found.document
    assert "User: Old 19 " in found.problem and found.problem.endswith("Assistant: Yes.\n\nWho?")
    assert len(found.problem) < VERBATIM + 200
    assert all(f"Old {number} " in found.document + found.problem for number in range(20))


def test_given_documents_leave_the_message_as_it_is():
    assert asked([Said("user", f"{LONG}\n\nWho?")], ["a", "b"]) == Asked("a\n\nb", f"{LONG}\n\nWho?")


def test_a_trailing_turn_of_the_assistant_is_a_prefill():
    found = asked([Said("user", f"{LONG}\n\nWho?"), Said("assistant", "It is")])
    assert (found.problem, found.prefill) == ("Who?", "It is")


@pytest.mark.parametrize("messages", [[], [Said("assistant", "Hm.")], [Said("user", "")], [Said("user", "Hi.")]])
def test_where_nothing_is_to_be_read(messages):
    assert asked(messages) is None


@pytest.mark.parametrize("text", ["<context>" * 20_000, "<context " * 20_000, "<document>x</context>" * 8_000])
def test_tags_without_an_end_cost_no_more_than_their_length(text):
    began = time.monotonic()
    assert split(text + "\n\nWhy?")[1] == "Why?"
    assert time.monotonic() - began < 2


def test_many_turns_cost_no_more_than_their_number():
    began = time.monotonic()
    asked([Said("user", "")] * 50_000 + [Said("assistant", "a")] * 50_000)
    asked([Said("user", "x")] * 50_000 + [Said("user", "Why?")])
    assert time.monotonic() - began < 2


def test_tags_of_any_case_and_number_are_taken_out():
    text = "Why?\n<DOCUMENT id='1'>\none\n</Document>\n<context>two</context>"
    assert split(text) == ("one\n\ntwo", "Why?")
    assert split("<documents><document>one</document></documents>Why?") == ("<document>one</document>", "Why?")
