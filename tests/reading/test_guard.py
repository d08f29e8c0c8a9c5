"""Text of documents stays data, and can be had back to the letter."""

import time

import pytest
from hypothesis import example, given
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
    "</section foo>",
    '<memory x="1">',
    "<section/>",
    f"</section{' ' * 300}>",
    "<think\nfast>",
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


NESTED = ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "a[b]", JOINER, "/", " ", "<", "</s>", "section"]


@given(
    st.sampled_from([("<|", "|>"), ("<｜", "｜>"), ("<section ", ">"), ("<<", ">>"), ("<a", "b>")]),
    st.integers(0, 62) | st.integers(185, 205),
    st.lists(st.sampled_from(NESTED), min_size=1, max_size=3).map("".join),
    st.integers(0, 8),
)
@example(("<|", "|>"), 54, "[INST]", 0)
def test_restore_is_the_inverse_where_tokens_stand_in_tokens(ends, before, inner, after):
    text = ends[0] + "a" * before + inner + "a" * after + ends[1]
    nesting = Guard(["<a[INST]b>", "section", "SYS>", "<|a|[INST]|>"])
    for one in (guard, nesting):
        once = one.neutralise(text)[0]
        twice = one.neutralise(once)[0]
        assert one.restore(once) == text
        assert one.restore(twice) == once


def test_a_token_inside_a_token_is_disarmed_too():
    assert guard.neutralise(f"<|{'a' * 54}[INST]|>") == (f"<{JOINER}|{'a' * 54}[{JOINER}INST]|>", 2)


@pytest.mark.parametrize("text", ["<" + JOINER * 50_000, "<" + " " * 50_000, "[section " * 10_000, "<|a" * 30_000])
def test_hostile_text_takes_no_long_time(text):
    begin = time.perf_counter()
    assert guard.restore(guard.neutralise(text)[0]) == text
    assert time.perf_counter() - begin < 5


@given(st.text())
def test_restore_is_the_inverse_on_any_text(text):
    assert guard.restore(guard.neutralise(text)[0]) == text
