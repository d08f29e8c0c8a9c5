"""One pass over a document for several readings: chunks are cut once, and dropped when all have them.

It does not know what chunks are for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from memagent.documents.base import Chunk

# How far one reading may be ahead of the slowest: bounds the chunks in memory.
LEAD = 64


class ChunkStream:
    """Chunks by number, for `readers` that each ask for 0, 1, 2 … at their own pace."""

    def __init__(self, chunks: Iterator[Chunk], readers: int, *, lead: int = LEAD) -> None:
        self._chunks = chunks
        self._held: deque[Chunk] = deque()
        self._base = 0
        self._next = [0] * readers
        self._lead = lead
        self._moved = asyncio.Event()
        self.tokens = 0
        self.made = 0

    async def get(self, reader: int) -> Chunk | None:
        """The next chunk for `reader`; None at the end. Waits while it is too far ahead of the others."""
        at = self._next[reader]
        while at - min(self._next) >= self._lead:
            self._moved.clear()
            await self._moved.wait()
        if at >= self._base + len(self._held) and not self._make():
            self._leave(reader)
            return None
        chunk = self._held[at - self._base]
        self._step(reader, at + 1)
        return chunk

    def reader(self, number: int) -> tuple[Callable[[], Awaitable[Chunk | None]], Callable[[], None]]:
        """For reader `number`: how it gets its next chunk, and how it says that it wants no more."""
        return partial(self.get, number), partial(self._leave, number)

    def drain(self) -> None:
        """Cut what nobody asked for, so that `made` and `tokens` count the whole document."""
        while self._make():
            self._held.clear()

    def _leave(self, reader: int) -> None:
        self._step(reader, 2**62)

    def _make(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._held.append(chunk)
        self.made += 1
        self.tokens += chunk.tokens
        return True

    def _step(self, reader: int, to: int) -> None:
        self._next[reader] = to
        while self._held and self._base < min(self._next):
            self._held.popleft()
            self._base += 1
        self._moved.set()
