"""Sources that grow: posted to in parts, read as they come, and asked at any time.

A feed is a text file in UTF-8 with a problem beside it and how far it is read; after a restart it goes on from there.
It does not know HTTP.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from memagent.atomic import write_whole
from memagent.documents.document import Document
from memagent.documents.encodings import UTF_8
from memagent.documents.text import open_text
from memagent.errors import DocumentError, MemagentError
from memagent.reading import Reading
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.result import Start
from memagent.serving.errors import ApiError, invalid
from memagent.serving.service import Service

_ID = re.compile(r"feed-[0-9a-f]{24}")
_TEXT, _ABOUT = "feed.txt", "about.json"
MOST = 1000  # feeds of one owner


@dataclass(slots=True)
class Feed:
    """One source. `characters` were posted, and read as far as `start` says; `reading` is the last there was, which saw
    the first `seen` bytes."""

    id: str
    problem: str
    folder: Path
    characters: int = 0
    start: Start = field(default_factory=lambda: Start(NO_MEMORY, 0))
    seen: int = 0
    reading: Reading | None = None
    error: str | None = None
    work: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """Where its text lies."""
        return self.folder / _TEXT

    @property
    def size(self) -> int:
        """The bytes that were posted."""
        return self.path.stat().st_size

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
        about = {"problem": self.problem, "start": asdict(self.start), "seen": self.seen}
        write_whole(self.folder / _ABOUT, json.dumps(about))


class Feeds:
    """All feeds below `folder`, together of at most `most_bytes`; each is seen by its owner alone, and has at most
    `one_bytes` of text."""

    def __init__(self, service: Service, folder: Path, *, most_bytes: int, one_bytes: int) -> None:
        self._service, self._folder, self._most, self._one = service, folder, most_bytes, one_bytes
        self._open: dict[Path, Feed] = {}

    def create(self, owner: str, problem: str) -> Feed:
        """A feed that is read for `problem`.

        Raises:
            ApiError: 413, where the owner has too many.
        """
        if len(list(self._of(owner).glob(f"*/{_ABOUT}"))) >= MOST:
            raise ApiError(413, f"this key has {MOST} feeds: delete one first")
        identity = f"feed-{secrets.token_hex(12)}"
        folder = self._of(owner) / identity
        folder.mkdir(mode=0o700, parents=True)
        feed = self._open[folder] = Feed(identity, problem, folder)
        feed.path.touch()
        feed.keep()
        return feed

    def list(self, owner: str) -> list[Feed]:
        """The owner's feeds."""
        return [self.get(owner, about.parent.name) for about in sorted(self._of(owner).glob(f"feed-*/{_ABOUT}"))]

    async def delete(self, owner: str, identity: str) -> None:
        """Forget a feed; what reads it is broken off.

        Raises:
            ApiError: as `get`.
        """
        feed = self.get(owner, identity)
        if feed.task is not None:
            feed.task.cancel()
            await asyncio.gather(feed.task, return_exceptions=True)
        self._open.pop(feed.folder, None)
        shutil.rmtree(feed.folder, ignore_errors=True)

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
            feed = Feed(identity, about["problem"], folder, start=Start(**about["start"]), seen=about.get("seen", 0))
            feed.characters = len(feed.path.read_bytes().decode("utf-8", "replace"))
            self._open[folder] = feed
        return self._open[folder]

    def post(self, owner: str, identity: str, text: str) -> Feed:
        """Add a part to a feed, and let it be read.

        Raises:
            ApiError: 404; 413, where the feed would have too much text.
        """
        feed = self.get(owner, identity)
        data = text.encode("utf-8", "replace")
        if feed.size + len(data) > self._one:
            raise ApiError(413, f"the feed would have more than {self._one // 2**20} MiB: begin another one")
        if self._used() + len(data) > self._most:
            raise ApiError(413, f"all feeds would have more than {self._most // 2**20} MiB: delete one first")
        with feed.path.open("ab") as file:
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
            while feed.seen < feed.size:
                await self._read(owner, feed)
        except (ApiError, MemagentError) as error:
            feed.error = str(error)

    async def _read(self, owner: str, feed: Feed) -> None:
        """Read what was posted by now; more may come while it is read."""
        async with feed.work:
            if (size := feed.size) <= feed.seen and feed.reading is not None:
                return
            document = await asyncio.to_thread(_opened, feed.path)
            if document is None:
                feed.seen = size
                return
            start = feed.start if feed.start.characters else None
            feed.reading = await self._service.reading(owner, document, feed.problem, start=start)
            feed.start, feed.error = Start(feed.reading.memory, document.characters, feed.reading.sure), None
            feed.seen = size
            feed.keep()

    def _of(self, owner: str) -> Path:
        return self._folder / owner

    def _used(self) -> int:
        return sum(one.stat().st_size for one in self._folder.glob(f"*/*/{_TEXT}"))


def _opened(path: Path) -> Document | None:
    """What is there by now; None where it is white space alone."""
    try:
        source = open_text(path, path.name, growing=True, encoding=UTF_8)
    except DocumentError:
        return None
    return Document(name=path.name, sources=(source,), paths=(str(path),))
