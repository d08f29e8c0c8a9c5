import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.models.scripted import WordTokenizer
from memagent.tasks.cutting import LONG_WORD, beginning, enough, fill
from memagent.tasks.measure import Measure

WORDS = WordTokenizer()
TEXT = st.text("ab \n.é橋", max_size=60) | st.lists(st.sampled_from(["oak", "elms,", "a-b", "x" * 20])).map(" ".join)


def test_enough_is_a_hundredth_less():
    assert [enough(tokens) for tokens in (100, 4096, 99, 1)] == [99, 4056, 99, 1]


@given(text=TEXT, tokens=st.integers(0, 40))
def test_a_beginning_ends_at_a_word_and_fits(text, tokens):
    part = beginning(text, tokens, WORDS)
    assert text.startswith(part)
    assert WORDS.count(part) <= tokens
    if part != text:
        assert part == part.rstrip()
        assert text[len(part)].isspace() or part == "" or WORDS.count(text) <= tokens
        words = text[len(part) :].split()
        longer = text[: text.index(words[0], len(part)) + len(words[0])] if words else text
        assert WORDS.count(longer) > tokens  # not a word more would fit


def test_words_without_end_are_cut_inside(embedded):
    text = "橋" * 5 * LONG_WORD
    part = beginning(text, 100, embedded)
    assert 50 < embedded.count(part) <= 100 and text.startswith(part)


@pytest.mark.parametrize("budget", [30, 57, 100, 250, 1000])
def test_a_prompt_is_filled_to_its_budget(budget, tokenizer):
    text = " ".join(["oak", "elm", "ash"] * 500)

    def frame(part):
        return f"What stands before.\n\n{part}\n\nAnd what stands behind."

    part, size = fill(frame, text, budget, Measure(tokenizer))
    assert text.startswith(part + " ") and size == tokenizer.count(frame(part)) <= budget
    assert size >= budget - 1 - budget // 100


def test_what_does_not_fit_leaves_nothing():
    measure = Measure(WORDS)
    assert fill(lambda part: "a b c" + part, "oak elm", 3, measure) == ("", 3)
    assert fill(lambda part: "a b c" + part, "oak elm", 1, measure) == ("", 3)
    assert fill(lambda part: "a b c " + part, "oak elm", 99, measure) == ("oak elm", 5)
