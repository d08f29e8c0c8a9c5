"""Where a text may be cut: ends of paragraphs, sentences, lines and words, in any script.

Positions are character offsets; a cut at `p` leaves `text[:p]` and `text[p:]`. White space at a
boundary stays before it. Everything here is linear in the stretch that is looked at. It does not
know tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

_CLOSERS = "\"'”’»›)]}」』】〉》〕）］｝＂＇*_`~"
# Latin and Arabic marks end a sentence where white space follows ...
_SPACED = ".!?…؟۔։⁇⁈⁉‼‽՜՞"
# ... these do so by themselves: Chinese, Japanese, Devanagari, Tibetan, Burmese, Khmer, Ethiopic.
_UNSPACED = "。！？．｡।॥།༎။។።፧"
_UNSPACED_END = re.compile(f"[{_UNSPACED}][{re.escape(_CLOSERS + _UNSPACED + _SPACED)}]*")
_MAY_END = frozenset(_CLOSERS + _SPACED + _UNSPACED)
_SPACE = re.compile(r"\s+")
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINE = re.compile("\n[^\\S\n]*\n|\r[^\\S\n]*\r|\u2029")
_CASED = "A-Za-z\u00c0-\u024f\u0370-\u052f"
_ABBREVIATION = re.compile(
    rf"(?:(?<![{_CASED}])[{_CASED}]|^\s*\d{{1,3}}"
    r"|\b(?:Mr|Mrs|Ms|Dr|Prof|Rev|Gen|Col|Capt|St|Mt|vs|cf|al|etc|vol|pp|fig|eq|ca|bzw|usw|Nr|approx))\.$",
    re.MULTILINE | re.IGNORECASE,
)
_LOOK_BACK = 16  # characters that decide whether a full stop ends an abbreviation; closers are fewer


def natural_ends(text: str, low: int, high: int) -> Iterator[list[int]]:
    """For each kind of boundary, best first, the cuts in (low, high] in ascending order.

    The kinds are paragraph, sentence, line and word ends. Cuts at the text's own ends are none.
    """
    spaces = [m.span() for m in _SPACE.finditer(text, low, min(high + 1, len(text)))]
    runs = [(start, end) for start, end in spaces if end <= high and start > 0 and is_safe(text, end)]
    kinds: tuple[Callable[[str, int, int], object], ...] = (_ends_paragraph, _ends_sentence, _ends_line)
    for kind in kinds:
        cuts = [end for start, end in runs if kind(text, start, end)]
        if kind is _ends_sentence:
            cuts = sorted({*cuts, *_unspaced_ends(text, low, high)})
        yield cuts
    yield [end for _, end in runs]


def is_safe(text: str, at: int) -> bool:
    """Whether a cut at `at` stands between two graphemes (what a reader takes for one character)."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if before < "\u0300" and after < "\u0300":
        return not (before == "\r" and after == "\n")
    if before == "\u200d" or unicodedata.combining(before) == 9:  # a joiner, a virama
        return False
    return not (_extends(after) or (_is_flag_half(after) and _splits_flag(text, at)))


def last_safe(text: str, cuts: Iterator[int]) -> int | None:
    """The first of `cuts` that is safe."""
    return next((cut for cut in cuts if is_safe(text, cut)), None)


def _extends(character: str) -> bool:
    """Whether the character belongs to the one before it."""
    return (
        unicodedata.category(character) in {"Mn", "Mc", "Me"}
        or character in "\u200c\u200d"
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= character <= "\U000e007f"  # tags
        or "\u1160" <= character <= "\u11ff"  # vowels and finals of decomposed Hangul
    )


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _splits_flag(text: str, at: int) -> bool:
    halves = 0
    while halves < 64 and at - halves > 0 and _is_flag_half(text[at - halves - 1]):
        halves += 1
    return halves % 2 == 1


def _ends_paragraph(text: str, start: int, end: int) -> object:
    return (end - start > 1 or text[start] == "\u2029") and _BLANK_LINE.search(text, start, end)


def _ends_line(text: str, start: int, end: int) -> object:
    return _LINE_BREAK.search(text, start, end)


def _ends_sentence(text: str, start: int, end: int) -> bool:
    """Whether the words before the white space [start, end) close a sentence."""
    if text[start - 1] not in _MAY_END:
        return False
    tail = text[max(0, start - _LOOK_BACK) : start].rstrip(_CLOSERS)
    if not tail or tail[-1] not in _SPACED + _UNSPACED:
        return False
    return tail[-1] != "." or not (text[end].islower() or _ABBREVIATION.search(tail))


def _unspaced_ends(text: str, low: int, high: int) -> Iterator[int]:
    for match in _UNSPACED_END.finditer(text, low, high):
        end = match.end()
        is_decimal = text[end - 1] == "．" and text[end : end + 1].isdigit()
        if end < len(text) and not text[end].isspace() and not is_decimal and is_safe(text, end):
            yield end
