"""Files that clients upload once and ask many times: kept on disk, each seen by its owner alone.

It does not know readings; a file's text is opened by `memagent.documents`.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

from memagent.documents import Document, open_document
from memagent.errors import DocumentError
from memagent.serving.errors import ApiError, invalid

_ID = re.compile(r"file-[0-9a-f]{24}")
_CONTENT, _ABOUT = "content", "about.json"
_HALF = 24 * 3600.0  # seconds after which no upload goes on
MOST_OF_NAME = 120  # bytes
_NAME = re.compile(r"[^\w.\- ]+")


def _safe(name: str) -> str:
    """A client's name for a file as one that every file system takes: its last part, its end where it is long."""
    last = _NAME.sub("_", Path(name.replace("\\", "/")).name)
    short = last.encode("utf-8", "replace")[-MOST_OF_NAME:].decode("utf-8", "ignore")
    return short.strip(" .") or "file.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """What is known of a file; `as_json` is OpenAI's file object."""

    id: str
    filename: str
    bytes: int
    created_at: int
    purpose: str

    def as_json(self) -> dict[str, object]:
        """See the class."""
        return {**asdict(self), "object": "file", "status": "processed"}


class Files:
    """Files below `folder`, a folder for each owner; all together at most `most_bytes`."""

    def __init__(self, folder: Path, *, most_bytes: int, one_bytes: int) -> None:
        self._folder = folder
        self._most, self._one = most_bytes, one_bytes
        self._clear()

    async def add(self, owner: str, name: str, purpose: str, parts: AsyncIterator[bytes]) -> StoredFile:
        """Write a file as it comes, and see that it can be read.

        Raises:
            ApiError: 413, too long or no room; 400, nothing a document can be made of.
        """
        name = _safe(name)
        identity = f"file-{secrets.token_hex(12)}"
        place = self._of(owner) / identity
        place.mkdir(mode=0o700, parents=True)
        try:
            size = await self._write(place / _CONTENT / name, parts)
            await asyncio.to_thread(self._open, place / _CONTENT / name)
            about = StoredFile(
                id=identity, filename=name, bytes=size, created_at=int(time.time()), purpose=purpose or "user_data"
            )
            (place / _ABOUT).write_text(json.dumps(asdict(about)), encoding="utf-8")
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return about

    async def _write(self, path: Path, parts: AsyncIterator[bytes]) -> int:
        path.parent.mkdir(mode=0o700)
        room, size = min(self._one, self._most - self._used()), 0
        with path.open("xb") as file:
            async for part in parts:
                size += len(part)
                if size > room:
                    raise ApiError(413, f"the file has more than the {room // 2**20} MiB that there is room for")
                file.write(part)
        return size

    def _open(self, path: Path) -> Document:
        try:
            return open_document(str(path))
        except DocumentError as error:
            raise invalid(str(error).replace(str(path), path.name), param="file") from error

    def list(self, owner: str) -> list[StoredFile]:
        """The owner's files, the newest first."""
        places = self._of(owner).glob(f"*/{_ABOUT}")
        found = [StoredFile(**json.loads(place.read_text(encoding="utf-8"))) for place in places]
        return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)

    def get(self, owner: str, identity: str) -> StoredFile:
        """What is known of a file.

        Raises:
            ApiError: 404, where the owner has none of that id.
        """
        return StoredFile(**json.loads((self._place(owner, identity) / _ABOUT).read_text(encoding="utf-8")))

    def path(self, owner: str, identity: str) -> Path:
        """Where a file lies.

        Raises:
            ApiError: as `get`.
        """
        return self._place(owner, identity) / _CONTENT / self.get(owner, identity).filename

    def document(self, owner: str, *identities: str) -> Document:
        """Files as one document.

        Raises:
            ApiError: as `get`, or one cannot be read any more.
        """
        paths = [str(self.path(owner, identity)) for identity in identities]
        try:
            return open_document(*paths)
        except DocumentError as error:
            raise invalid(Path(str(error)).name, param="file_ids") from error

    def delete(self, owner: str, identity: str) -> None:
        """Forget a file.

        Raises:
            ApiError: as `get`.
        """
        shutil.rmtree(self._place(owner, identity))

    def _place(self, owner: str, identity: str) -> Path:
        place = self._of(owner) / identity
        if not _ID.fullmatch(identity) or not (place / _ABOUT).is_file():
            raise ApiError(404, f"no file {identity[:40]!r}", code="not_found", param="file_id")
        return place

    def _of(self, owner: str) -> Path:
        return self._folder / owner

    def _clear(self) -> None:
        """Remove what a server that was killed had half received; another server may be receiving what is new."""
        for place in self._folder.glob("*/file-*"):
            if not (place / _ABOUT).is_file() and time.time() - place.stat().st_mtime > _HALF:
                shutil.rmtree(place, ignore_errors=True)

    def _used(self) -> int:
        return sum(one.stat().st_size for one in self._folder.glob(f"*/*/{_CONTENT}/*"))
