"""A source that grows: read as far as it goes, and on from there whenever there is more.

Each time is a reading of its own, which begins with the memory of the one before. It does not know files or screens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from memagent.documents import Document
from memagent.reading.reader import Reader
from memagent.reading.result import Reading, Start


async def follow(
    reader: Reader, problem: str, grown: AsyncIterator[Document], *, noted: Callable[[Start], None] = lambda start: None
) -> AsyncIterator[Reading]:
    """A reading for each document of `grown`, which each hold the one before and more; `noted` hears how far it is.

    Raises:
        MemagentError: as `Reader.read`.
    """
    start: Start | None = None
    async for document in grown:
        reading = await reader.read(document, problem, start=start)
        start = Start(reading.memory, document.characters, reading.sure)
        noted(start)
        yield reading
