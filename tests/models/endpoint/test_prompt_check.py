"""Cut prompts are noticed, whole ones never taken for cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.models.endpoint.prompt_check import PromptCheck, fewest_tokens

# How modern vocabularies split text before merging (letters with one mark before them, runs of marks,
# numbers, white space), in the terms of `re`: no token goes beyond one such piece.
PIECES = re.compile(
    r"[^\r\n\w]?[^\W\d_]+(?:['’](?:s|t|re|ve|m|ll|d))?|\d{1,3}|_+| ?[^\s\w]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TestFewestTokens:
    @pytest.mark.parametrize(
        ("text", "least"),
        [
            ("", 0),
            ("  \n", 0),
            ("one two three", 3),
            ("don't stop", 2),
            ("Well, (yes). No!", 6),
            ("f(x)", 3),
            ("漢字と仮名、それだけ。", 1),
            ("हिन्दी भाषा", 2),
            ("3.14", 2),
        ],
    )
    def test_examples(self, text, least):
        assert fewest_tokens(text) == least

    @given(st.text(st.characters(codec="ascii", exclude_characters="_'") | st.sampled_from(" \n.,()é漢")))
    def test_no_vocabulary_needs_fewer(self, text):
        assert fewest_tokens(text) <= len(PIECES.findall(text))

    @given(st.text())
    def test_any_text_has_a_bound(self, text):
        assert 0 <= fewest_tokens(text) <= len(text.encode("utf-8", "surrogatepass"))


class TestExact:
    def test_ninety_per_cent(self):
        check = PromptCheck(len)
        assert check.lost("漢" * 100, 90) is None
        assert check.lost("漢" * 100, 89) == 100

    def test_a_plateau_means_nothing(self):
        check = PromptCheck(lambda text: 1000)
        assert [check.lost("漢" * size, 1024) for size in (1000, 2000, 3000, 4000)] == [None] * 4


class TestPlateau:
    def lost(self, reports: list[tuple[int, int]]) -> int | None:
        """The first of (characters, reported) at which a cut is noticed; each character is three bytes."""
        check = PromptCheck()
        for number, (size, reported) in enumerate(reports):
            if check.lost("漢" * size, reported) is not None:
                return number
        return None

    def test_three_witnesses_of_a_round_number(self):
        assert self.lost([(3000, 2048), (3100, 2048), (3200, 2048)]) == 2

    def test_ollama_keeps_half_and_two(self):
        assert self.lost([(3000, 2050), (3100, 2050), (3200, 2050)]) == 2

    def test_six_of_an_odd_one(self):
        assert self.lost([(3000 + 100 * number, 1900) for number in range(9)]) == 5

    def test_it_stays_noticed(self):
        check = PromptCheck()
        found = [check.lost("漢" * size, 2048) for size in (3000, 3100, 3200, 3300)]
        assert found == [None, None, 3200, 3300]

    def test_prompts_of_one_size_are_no_witnesses(self):
        assert self.lost([(3000 + number, 2048) for number in range(20)]) is None

    def test_one_that_is_longer_clears_it(self):
        assert self.lost([(3000, 2048), (3100, 2048), (3200, 2300), (3300, 2048), (3400, 2048)]) is None

    def test_one_that_is_shorter_breaks_the_run(self):
        assert self.lost([(3000, 2048), (3100, 2048), (1000, 900), (3200, 2048), (3300, 2048)]) is None

    def test_small_numbers_are_no_limits(self):
        assert self.lost([(700 + 50 * number, 511) for number in range(9)]) is None
