"""A document's text as a stream: look ahead by characters, take from the front, with spans.

What is held is what was looked at and not yet taken, plus one piece. It does not know tokens or cuts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from memagent.documents.base import Piece, Span

_CONTINUATION = bytes(range(0x80, 0xC0))  # the bytes of UTF-8 that begin no character


class Window:
    """The text of `pieces` from `start` on, which counts characters of the document."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.start = 0
        self._pieces = iter(pieces)
        self._text = ""
        self._at = 0  # where `start` is in `_text`
        self._held: deque[tuple[int, Piece]] = deque()  # with their first characters' place in the document
        self._end = 0

    def peek(self, characters: int) -> str:
        """The next `characters` of the text, or all that are left."""
        self._fill(characters)
        return self._text[self._at : self._at + characters]

    def has_more_than(self, characters: int) -> bool:
        """Whether the text goes on after the next `characters`."""
        self._fill(characters + 1)
        return len(self._text) - self._at > characters

    def take(self, characters: int) -> tuple[str, tuple[Span, ...]]:
        """Remove the next `characters` and say where they come from (headings come from nowhere)."""
        text = self.peek(characters)
        end = self.start + len(text)
        spans = self._spans(end)
        while self._held and self._held[0][0] + len(self._held[0][1].text) <= end:
            self._held.popleft()
        self._at += len(text)
        self.start = end
        return text, spans

    def _fill(self, characters: int) -> None:
        missing = characters - (len(self._text) - self._at)
        if missing <= 0:
            return
        parts = [self._text[self._at :]]
        while missing > 0 and (piece := next(self._pieces, None)) is not None:
            parts.append(piece.text)
            self._held.append((self._end, piece))
            self._end += len(piece.text)
            missing -= len(piece.text)
        self._text, self._at = "".join(parts), 0

    def _spans(self, end: int) -> tuple[Span, ...]:
        """Of the characters from `start` to `end`; neighbours of one source and page become one span."""
        spans: list[Span] = []
        for at, piece in self._held:
            first, last = max(at, self.start), min(at + len(piece.text), end)
            if first >= end:
                break
            if piece.source is None or first >= last:
                continue
            offset = piece.start + first - at
            span = Span(first - self.start, last - self.start, piece.source, offset, piece.page)
            if spans and _continues(spans[-1], span):
                span = Span(spans[-1].start, span.end, span.source, spans[-1].offset, span.page)
                spans.pop()
            spans.append(span)
        return tuple(spans)


def _continues(before: Span, after: Span) -> bool:
    adjacent = before.end == after.start and before.offset + before.end - before.start == after.offset
    return adjacent and (before.source, before.page) == (after.source, after.page)


def bytes_limit(text: str, max_bytes: int) -> int:
    """How many of the first characters of `text` have at most `max_bytes` bytes in UTF-8."""
    encoded = text[: max_bytes + 1].encode("utf-8", "surrogatepass")
    if len(encoded) <= max_bytes:
        return len(text)
    begun = len(encoded[:max_bytes].translate(None, _CONTINUATION))
    return begun - (encoded[max_bytes] in _CONTINUATION)
