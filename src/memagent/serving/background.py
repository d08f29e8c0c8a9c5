"""Readings that nobody waits for: begun by the page, looked at while they run, and broken off with the server.

It does not know HTTP.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from memagent.documents import Document
from memagent.errors import MemagentError
from memagent.reading.result import Start
from memagent.reading.run import OnProgress, Progress, Run
from memagent.serving.errors import ApiError, ending
from memagent.serving.service import Service


@dataclass(slots=True)
class Background:
    """`running` are the readings under way by their ids, `errors` what stopped those that did not end."""

    service: Service
    running: dict[str, Run] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    async def begin(self, owner: str, document: Document, problem: str, start: Start | None = None) -> str:
        """Begin a reading, or go on with the same one where it was broken off; its id, once it has its place.

        Raises:
            ApiError: 429.
            MemagentError: it cannot begin at all.
        """
        begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def note(progress: Progress) -> None:
            self.running[progress.run.reading_id] = progress.run
            if not begun.done():
                begun.set_result(progress.run.reading_id)

        self.service.begin(self._read(owner, document, problem, start, note, begun))
        return await begun

    async def _read(
        self,
        owner: str,
        document: Document,
        problem: str,
        start: Start | None,
        note: OnProgress,
        begun: asyncio.Future[str],
    ) -> None:
        try:
            reading = await self.service.reading(owner, document, problem, start=start, watch=note)
            if not begun.done():  # read before, and not again
                begun.set_result(reading.reading_id)
        except asyncio.CancelledError:
            if not begun.done():
                begun.set_exception(ending())
            raise
        except (ApiError, MemagentError) as error:
            if begun.done():
                self.errors[begun.result()] = str(error)
            else:
                begun.set_exception(error)
        finally:
            if begun.done() and not begun.exception():
                self.running.pop(begun.result(), None)
