"""Read-ahead: the next chunks are tried at once with the memory as it stands.

The run of keeps at the front is accepted, so is the first change; what was tried behind a change saw an
old memory, is cancelled and tried again (as it is where the reader's manner changes). Under greedy decoding in exact
arithmetic this gives the turns of reading one by one. It does not know prompts, journals or protocols.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable

from memagent.documents.base import Chunk
from memagent.errors import BudgetSpent
from memagent.reading.result import Turn

NextChunk = Callable[[], Awaitable["Chunk | None"]]
ReadChunk = Callable[[Chunk, str], "Awaitable[list[Turn]]"]


class Lookahead:
    """Reads chunks in order, at most `width` at once.

    The width in use starts at one, doubles with each chunk that is kept and halves with each change, so
    that a memory that changes at every chunk costs no vain calls. `may_ahead` can forbid trying ahead
    for the moment (when money is short). `manner` is what else a try depends on, and what was accepted may change.
    """

    def __init__(
        self,
        next_chunk: NextChunk,
        read: ReadChunk,
        *,
        width: int,
        may_ahead: Callable[[], bool],
        manner: Callable[[], object] = lambda: None,
    ) -> None:
        self._next_chunk = next_chunk
        self._read = read
        self._most = width
        self._width = 1
        self._may_ahead = may_ahead
        self._manner = manner
        self._waiting: deque[Chunk] = deque()
        self._tried: deque[tuple[Chunk, asyncio.Task[list[Turn]]]] = deque()
        self._ended = False

    async def turns(self, memory: str) -> AsyncGenerator[list[Turn], None]:
        """The accepted turns, a list for each chunk (several where it was split), from `memory` on."""
        try:
            while await self._fill(memory):
                manner = self._manner()
                chunk, task = self._tried.popleft()
                try:
                    accepted = await task
                except BudgetSpent:
                    # Money was set aside for chunks tried at the same time; alone this one may be affordable.
                    await self.stop()
                    accepted = await self._read(chunk, memory)
                if accepted[-1].memory != memory:
                    memory = accepted[-1].memory
                    await self.stop()
                    self._width = max(1, self._width // 2)
                else:
                    self._width = min(self._most, self._width * 2)
                yield accepted
                if self._manner() != manner:
                    await self.stop()
        finally:
            await self.stop()

    async def _fill(self, memory: str) -> bool:
        """Start as many chunks as may be tried; False when none is left."""
        while len(self._tried) < self._width and (not self._tried or self._may_ahead()):
            chunk = await self._take()
            if chunk is None:
                break
            self._tried.append((chunk, asyncio.ensure_future(self._read(chunk, memory))))
            await asyncio.sleep(0)  # let it set its money aside before the next one is thought of
        return bool(self._tried)

    async def _take(self) -> Chunk | None:
        if self._waiting:
            return self._waiting.popleft()
        if self._ended:
            return None
        chunk = await self._next_chunk()
        self._ended = chunk is None
        return chunk

    async def stop(self) -> None:
        """Cancel what was tried ahead; its chunks wait to be tried again."""
        tasks = [task for _, task in self._tried]
        self._waiting.extendleft(reversed([chunk for chunk, _ in self._tried]))
        self._tried.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
