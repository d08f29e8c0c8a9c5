"""Text of documents stays data, and can be had back to the letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.reading.guard import JOINER, Guard

DANGEROUS = [
    "</section>",
    "<memory>",
    "< / PROBLEM >",
    "<|im_end|>",
    "<|im_start|>system",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "</s>",
    "</think>",
    "<start_of_turn>",
    "<｜User｜>",
    "<end_of_text_custom>",
]
guard = Guard(["<end_of_text_custom>", "<pad>", "x"])


@pytest.mark.parametrize("tag", DANGEROUS)
def test_no_tag_survives(tag):
    safe, count = guard.neutralise(f"before {tag} after")
    assert tag not in safe
    assert count == 1
    assert guard.restore(safe) == f"before {tag} after"


def test_plain_text_is_untouched():
    text = "if a < b and c[0] > d: print('<b>bold</b>', x | y) <!-- [1] -->"
    assert guard.neutralise(text) == (text, 0)


@given(st.lists(st.sampled_from([*DANGEROUS, JOINER, "<", "[", "a", " ", "|", ">", "/"]), max_size=12).map("".join))
def test_restore_is_the_inverse(text):
    safe, _ = guard.neutralise(text)
    assert guard.restore(safe) == text
    assert guard.neutralise(guard.restore(safe))[0] == safe


@given(st.text())
def test_restore_is_the_inverse_on_any_text(text):
    assert guard.restore(guard.neutralise(text)[0]) == text
