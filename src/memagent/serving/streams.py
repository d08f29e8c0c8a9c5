"""A streamed reply, and what stands behind it while it goes out. It does not know what is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from fastapi.responses import StreamingResponse

KEEP_ALIVE_SECONDS = 10.0


class Stream(StreamingResponse):
    """Parts one by one; `close` is called however it ends, even if nobody took a part."""

    def __init__(self, parts: AsyncIterator[bytes], close: Callable[[], object], **given: Any) -> None:
        super().__init__(parts, **given)
        self._close = close

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI's."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


async def lines_of(queue: asyncio.Queue[str | None]) -> AsyncGenerator[str | None, None]:
    """What is put into the queue until a None is, and a None wherever there was nothing for a while."""
    while True:
        try:
            line = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
        except TimeoutError:
            yield None
            continue
        if line is None:
            return
        yield line
