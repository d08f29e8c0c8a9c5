"""Sources that grow: posted to in parts, read as they come, and asked at any time.

A feed is a text file with a problem beside it and how far it is read; after a restart it goes on from there. It does
not know HTTP.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from memagent.documents import open_document
from memagent.errors import DocumentError, MemagentError
from memagent.reading import Reading
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.result import Start
from memagent.serving.errors import ApiError, invalid
from memagent.serving.service import Service

_ID = re.compile(r"feed-[0-9a-f]{24}")
_TEXT, _ABOUT = "feed.txt", "about.json"


@dataclass(slots=True)
class Feed:
    """One source. `characters` were posted, and read as far as `start` says; `reading` is the last there was."""

    id: str
    problem: str
    folder: Path
    characters: int = 0
    start: Start = field(default_factory=lambda: Start(NO_MEMORY, 0))
    reading: Reading | None = None
    error: str | None = None
    work: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None

    def as_json(self) -> dict[str, Any]:
        """What is told of it."""
        told = {"id": self.id, "object": "feed", "problem": self.problem, "characters": self.characters}
        reading = self.reading
        return {
            **told,
            "read": self.start.characters,
            "memory": self.start.memory,
            "answer": reading and reading.answer,
            "evidence": [asdict(one) for one in reading.evidence] if reading else [],
            "reading_id": reading and reading.reading_id,
            "error": self.error,
        }

    def keep(self) -> None:
        """Note on disk how far it is."""
        about = {"problem": self.problem, "start": asdict(self.start)}
        part = self.folder / f"{_ABOUT}.part"
        part.write_text(json.dumps(about), encoding="utf-8")
        part.replace(self.folder / _ABOUT)


class Feeds:
    """All feeds below `folder`; each is seen by its owner alone, and has at most `most_bytes` of text."""

    def __init__(self, service: Service, folder: Path, *, most_bytes: int) -> None:
        self._service, self._folder, self._most = service, folder, most_bytes
        self._open: dict[Path, Feed] = {}

    def create(self, owner: str, problem: str) -> Feed:
        """A feed that is read for `problem`."""
        identity = f"feed-{secrets.token_hex(12)}"
        folder = self._of(owner) / identity
        folder.mkdir(mode=0o700, parents=True)
        (folder / _TEXT).touch()
        feed = self._open[folder] = Feed(identity, problem, folder)
        feed.keep()
        return feed

    def get(self, owner: str, identity: str) -> Feed:
        """A feed.

        Raises:
            ApiError: 404, where the owner has none of that id.
        """
        folder = self._of(owner) / identity
        if not _ID.fullmatch(identity) or not (folder / _ABOUT).is_file():
            raise ApiError(404, f"no feed {identity[:40]!r}", code="not_found")
        if folder not in self._open:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            feed = Feed(identity, about["problem"], folder, start=Start(**about["start"]))
            feed.characters = len((folder / _TEXT).read_text(encoding="utf-8"))
            self._open[folder] = feed
        return self._open[folder]

    def post(self, owner: str, identity: str, text: str) -> Feed:
        """Add a part to a feed, and let it be read.

        Raises:
            ApiError: 404; 413, where the feed would have too much text.
        """
        feed = self.get(owner, identity)
        data = text.encode("utf-8", "replace")
        path = feed.folder / _TEXT
        if path.stat().st_size + len(data) > self._most:
            raise ApiError(413, f"the feed would have more than {self._most // 2**20} MiB: begin another one")
        with path.open("ab") as file:
            file.write(data)
        feed.characters += len(data.decode("utf-8"))
        if feed.task is None or feed.task.done():
            feed.task = asyncio.ensure_future(self._catch_up(owner, feed))
        return feed

    async def answer(self, owner: str, identity: str) -> Feed:
        """A feed when all of it is read.

        Raises:
            ApiError: 404; 400, where nothing was posted yet; 429.
            MemagentError: as a reading.
        """
        feed = self.get(owner, identity)
        if not feed.characters:
            raise invalid("nothing was posted to this feed yet")
        await self._read(owner, feed)
        return feed

    async def stop(self) -> None:
        """Break off what is under way; it goes on with the next part or question."""
        tasks = [feed.task for feed in self._open.values() if feed.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _catch_up(self, owner: str, feed: Feed) -> None:
        try:
            while feed.start.characters < feed.characters:
                await self._read(owner, feed)
        except (ApiError, MemagentError) as error:
            feed.error = str(error)

    async def _read(self, owner: str, feed: Feed) -> None:
        async with feed.work:
            if feed.reading is not None and feed.start.characters >= feed.characters:
                return
            try:
                document = await asyncio.to_thread(open_document, str(feed.folder / _TEXT))
            except DocumentError:  # white space alone so far
                return
            reader = self._service.reader(owner)
            async with self._service.admission.place(owner):
                start = feed.start if feed.start.characters else None
                feed.reading = await reader.read(document, feed.problem, start=start)
            feed.start, feed.error = Start(feed.reading.memory, document.characters), None
            feed.keep()

    def _of(self, owner: str) -> Path:
        return self._folder / owner
