"""Finds the answer in a reply, kindly: what a reader would take for it. It does not know what is right.

The published metrics find it by rules of their own (`official.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")
_PHRASE = re.compile(r"the answer is\b[ \t]*:?", re.IGNORECASE)
# A text in LaTeX's dress: \boxed{\text{Paris}} says Paris.
_DRESS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf)\s*\{([^{}]*)\}")
_ESCAPED = re.compile(r"\\([$%&#_ ])")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_INITIALS = re.compile(r"(?:[^\W\d]\.)*[^\W\d]")
_TITLES = re.compile(r"mr|mrs|ms|dr|prof|st|mt|ft|jr|sr|vs|gen|col|capt|lt|sgt|rev|hon|gov|sen|rep")
_QUOTES = "\"'`“”‘’«»*"


def final_answer(reply: str) -> str:
    """What `reply` gives as its answer; may be empty.

    The content of the last `\\boxed{…}` whose braces balance (`\\fbox` too), without LaTeX's `\\text`; else what
    follows the last "the answer is", to the end of its sentence; else the whole reply, stripped.
    """
    return _answer(reply, _sentence)


def final_text(reply: str) -> str:
    """Like `final_answer`, but to the reply's end: several values may take several sentences or lines."""
    return _answer(reply, str.strip)


def last_box(text: str) -> str | None:
    """The content of the last box whose braces balance; None where there is none. O(len(text))."""
    opened: list[re.Match[str]] = []
    best, inside = -1, None
    for match in _BRACES.finditer(text):
        if match[0] != "}":
            opened.append(match)
        elif opened:
            opening = opened.pop()
            if len(opening[0]) > 1 and opening.start() > best:
                best, inside = opening.start(), text[opening.end() : match.start()]
    return inside


def _answer(reply: str, told: Callable[[str], str]) -> str:
    box = last_box(reply)
    if box is not None:
        return _undressed(box).strip()
    phrases = list(_PHRASE.finditer(reply))
    return told(reply[phrases[-1].end() :]) if phrases else reply.strip()


def _undressed(text: str) -> str:
    """Each round takes off one layer."""
    while (plainer := _DRESS.sub(r"\1", text)) != text:
        text = plainer
    return _ESCAPED.sub(r"\1", text)


def _sentence(text: str) -> str:
    """The first line of `text` up to the end of its first sentence, without quotes and full stop."""
    line = text.strip().partition("\n")[0]
    ends = (end.start() for end in _SENTENCE_END.finditer(line) if not _abbreviated(line[: end.start()]))
    return line[: next(ends, len(line))].strip().strip(_QUOTES).removesuffix(".").strip(_QUOTES).strip()


def _abbreviated(before: str) -> bool:
    """Whether the point after `before` ends initials (`J.`, `U.S.`) or a title."""
    word = before.rpartition(" ")[2].strip(_QUOTES + "(").lower()
    return any(pattern.fullmatch(word) for pattern in (_INITIALS, _TITLES))
