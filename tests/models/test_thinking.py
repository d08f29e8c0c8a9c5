import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.models.thinking import split_thinking


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [
        ("plain", True, ("plain", "")),
        ("<think>a\nb</think>\n\nanswer", True, ("answer", "a\nb")),
        ("a</think>answer", True, ("answer", "a")),
        ("<think>a</think>b</think>c", True, ("c", "a</think>b")),
        ("<think>never closed", True, ("", "never closed")),
        ("\n<think>never closed", False, ("", "never closed")),
        ("<thi", False, ("", "")),
        ("<thi", True, ("<thi", "")),
        ("says <think> in the middle", True, ("says <think> in the middle", "")),
        ("", False, ("", "")),
    ],
)
def test_thinking_is_parted_from_the_answer(text, finished, expected):
    assert split_thinking(text, finished) == expected


@given(st.text(), st.text(), st.booleans())
def test_what_follows_the_last_closing_tag_is_the_answer(thought, answer, finished):
    text, _ = split_thinking(f"<think>{thought}</think>{answer}", finished)
    assert text == answer.rpartition("</think>")[2].lstrip("\n")
