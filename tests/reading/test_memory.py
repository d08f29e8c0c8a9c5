"""The rule by which a reply becomes the next memory."""

from hypothesis import given
from hypothesis import strategies as st

from memagent.models import ScriptedModel
from memagent.reading.memory import settle, trim
from memagent.reading.protocols import NO_MEMORY, Update
from memagent.tokens import ByteEstimate

words = ScriptedModel(lambda request: "").tokenizer


def test_what_does_not_change_the_memory_keeps_it_byte_for_byte():
    for outcome in ("keep", "done", "empty", "malformed"):
        assert settle(Update(outcome), " old \n", 8, words) == (" old \n", False)


def test_add_stands_behind_and_replaces_no_memory():
    assert settle(Update("add", "b"), "a", 64, words) == ("a\nb", False)
    assert settle(Update("add", "b"), NO_MEMORY, 64, words) == ("b", False)


def test_a_long_memory_is_cut_at_a_sentence_end():
    text = "One two three four. Five six seven eight. Nine ten eleven twelve."
    cut, trimmed = trim(text, words.count(text) - 3, words)
    assert trimmed
    assert cut == "One two three four. Five six seven eight."


def test_an_estimate_does_not_cut_what_may_fit():
    text = "word " * 100  # 500 bytes: 167 by the estimate, about 100 in truth
    assert trim(text, 100, ByteEstimate()) == (text, False)
    assert trim(text * 20, 100, ByteEstimate())[1]


@given(st.text(max_size=400), st.integers(1, 50))
def test_the_budget_holds_and_nothing_is_invented(text, budget):
    cut, trimmed = trim(text, budget, words)
    assert text.startswith(cut)
    assert trimmed == (cut != text)
    assert words.count(cut) <= budget + budget // 16
