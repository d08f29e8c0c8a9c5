"""Strict metrics on the final answer: a fragment of the truth, or nothing at all, is never right.

They share SQuAD's normal form with the published ones, so that exact match and F1 are the usual ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from memagent.extras import extra
from memagent.scoring.answers import final_answer, final_text, last_box
from memagent.scoring.official import squad_form

_VERDICTS = frozenset(("yes", "no", "noanswer"))
# Scripts that write no spaces between words, or join particles to them: Thai, Lao, Burmese, Khmer, kana, Han, Hangul.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_LETTER = f"[^\\W{_UNSPACED}]"  # a character that belongs to the word beside it
_OF_A_WORD = re.compile(_LETTER)


def em(reply: str, references: Sequence[str]) -> float:
    """Exact match: 1 if the final answer equals an accepted one in SQuAD's form."""
    answer = _form(final_answer(reply))
    return float(answer != "" and any(_form(reference) == answer for reference in references))


def f1(reply: str, references: Sequence[str]) -> float:
    """The F1 of the words of the final answer and of an accepted one, the best of them.

    Words are taken in SQuAD's form. As in HotpotQA's own evaluation, yes and no are right or wrong as a whole.
    """
    answer = _form(final_answer(reply))
    return max((_word_f1(answer, _form(reference)) for reference in references), default=0.0)


def contains(reply: str, references: Sequence[str]) -> float:
    """1 if an accepted answer stands in the final answer as whole words, both in SQuAD's form."""
    answer = _form(final_answer(reply))
    return float(any(_in_whole_words(_form(reference), answer) for reference in references))


def multi_value(reply: str, references: Sequence[str]) -> float:
    """The reward for several values, R = |{y in Y : y in ŷ}| / |Y| (arXiv 2507.02259, section 3).

    ŷ is the final answer to the reply's end and Y a set: a value that is named twice counts once. Case and white
    space are the same to it, and a value must stand as a whole word: 12 is not in 123.
    """
    answer = _folded(final_text(reply))
    values = {folded for reference in references if (folded := _folded(reference))}
    return sum(_in_whole_words(value, answer) for value in values) / len(values) if values else 0.0


def rouge_l(reply: str, references: Sequence[str]) -> float:
    """ROUGE-L's F-measure by the rouge-score library, with stemming; the best over the references.

    The text is the last box, or the whole reply. The library knows only ASCII letters and digits.

    Raises:
        SetupError: the extra `eval` is not installed.
    """
    box = last_box(reply)
    text = reply if box is None else box
    score = _rouge()
    return max((float(score(reference, text)["rougeL"].fmeasure) for reference in references), default=0.0)


@cache
def _rouge() -> Any:
    with extra("eval", "ROUGE"):
        from rouge_score.rouge_scorer import RougeScorer
    return RougeScorer(["rougeL"], use_stemmer=True).score


def _form(text: str) -> str:
    """SQuAD's form; a text of which it leaves nothing ("The The", "?") keeps its words and marks."""
    return squad_form(text) or _folded(text)


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _word_f1(answer: str, reference: str) -> float:
    if answer != reference and not _VERDICTS.isdisjoint((answer, reference)):
        return 0.0
    given, wanted = answer.split(), reference.split()
    common = (Counter(given) & Counter(wanted)).total()
    return 2 * common / (len(given) + len(wanted)) if common else 0.0


def _in_whole_words(value: str, text: str) -> bool:
    """Whether `value` occurs in `text` and no word goes on beyond its ends."""
    if not value:
        return False
    before = f"(?<!{_LETTER})" if _OF_A_WORD.match(value[0]) else ""
    behind = f"(?!{_LETTER})" if _OF_A_WORD.match(value[-1]) else ""
    return re.search(before + re.escape(value) + behind, text) is not None
