"""An answer counts as not found if it says so as a whole, not if it has such words in it."""

import pytest

from memagent.reading.verdict import judge

NOTHING = [
    "The memory does not contain the answer.",
    "I don't know.",
    "I don\u2019t know who the owner was.",
    "I cannot determine the owner from the memory.",
    "Nothing",
    "Not in the text.",
    "The text does not mention the owner.",
    "The text doesn't say.",
    "The provided memory does not have enough information to answer the question.",
    "Not found",
    "N/A",
    "It isn't specified.",
    "The owner's name is not explicitly stated in the provided text.",
    "The answer was not found.",
    "The owner is unknown.",
    "No information.",
    "No relevant information about the owner was found in the memory.",
    "No mention of the owner.",
    "There is no information about who the owner was.",
    "Based on the memory, there is no mention of the owner.",
    "Not enough information to answer the question.",
    "It cannot be determined from the text.",
    "The memory mentions the ship, but it does not mention the owner.",
    "The memory mentions the ship, but the owner is not specified.",
    "The memory does not contain the answer. The owner is not mentioned.",
    "No previous memory",
]
ANSWERS = [
    "The defendant was not found guilty.",
    "He was not given a trial but exiled to Elba.",
    "No information leaked before 1987.",
    "No information about the leak was published before 1987.",
    "The owner is unknown to the villagers.",
    "The Unknown",
    "No",
    "Nobody",
    "Nothing Else Matters",
    "None of them sailed.",
    "The ship was not found.",
    "It was not available until 1990.",
    "The text does not mention the owner, but he is Tobias Keller.",
    "The owner is Tobias Keller. His age is not mentioned.",
    "He said that he does not know.",
    "The king in the text does not give up.",
    "C++",
    "...",
]


@pytest.mark.parametrize("answer", NOTHING)
def test_an_answer_that_says_that_nothing_was_found(answer):
    assert judge(answer, "a memory", failed=0, turns=1) == "not_found"


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_only_has_such_words(answer):
    assert judge(answer, "a memory", failed=0, turns=1) == "answered"
