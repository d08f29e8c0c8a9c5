"""The page, and what it asks: readings with their turns, the text behind them, reading on, evaluations.

What a reading was is in the journal; its text is opened again from where the journal says it lay. It does not know how
the page looks.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from memagent.documents import Document, open_document
from memagent.errors import DocumentError, InputError
from memagent.reading.journal import Entry
from memagent.reading.result import Start
from memagent.serving.admission import ANYONE
from memagent.serving.background import Background
from memagent.serving.doorway import owner_of
from memagent.serving.errors import ApiError, invalid
from memagent.serving.schemas import Text
from memagent.serving.service import Service

PAGE = Path(__file__).parent / "page"
LISTED = 200
LONGEST_TEXT = 100_000  # characters that are shown at once
# Nothing but the page's own files runs in it, whatever documents, memories and answers say.
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
# A report is one file with its script in it; in a sandbox it can reach nothing of ours.
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)
_LETTERS = {"keep": "k", "add": "a", "write": "w", "done": "d", "malformed": "m", "empty": "e", "failed": "f"}
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}


class Begin(BaseModel):
    """What the page asks to be read: uploaded files, and a problem."""

    file_ids: list[str] = Field(min_length=1)
    problem: Text = Field(min_length=1)


class On(BaseModel):
    """From where, and with which memory, a reading is read on."""

    characters: int = Field(ge=0, lt=2**62)
    memory: Text


class Inspector:
    """The routes. `evaluations` is a folder of result folders, if there is one."""

    def __init__(self, service: Service, background: Background, evaluations: Path | None = None) -> None:
        self._service, self._background, self._evaluations = service, background, evaluations
        self._texts: dict[str, str] = {}
        self._places: dict[str, dict[str, int]] = {}
        self._secret = secrets.token_bytes(32)
        self.router = APIRouter()
        add = self.router.add_api_route
        add("/", self.page, methods=["GET"], include_in_schema=False)
        add("/page/{name:path}", self.part, methods=["GET"], include_in_schema=False)
        add("/api/readings", self.list_readings, methods=["GET"])
        add("/api/readings", self.begin, methods=["POST"])
        add("/api/readings/{identity}", self.reading, methods=["GET"])
        add("/api/readings/{identity}/text", self.text, methods=["GET"])
        add("/api/readings/{identity}/on", self.on, methods=["POST"])
        add("/api/readings/{identity}/resume", self.resume, methods=["POST"])
        add("/api/evaluations", self.list_evaluations, methods=["GET"])
        add("/evaluations/{name}/report.html", self.report, methods=["GET"], include_in_schema=False)

    async def page(self) -> FileResponse:
        """The page itself."""
        return await self.part("index.html")

    async def part(self, name: str) -> FileResponse:
        """A file of the page."""
        path = _below(PAGE, name)
        if path is None:
            raise ApiError(404, "there is no such file", code="not_found")
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        return FileResponse(path, media_type=_KINDS.get(path.suffix, "application/octet-stream"), headers=headers)

    async def list_readings(self, request: Request) -> list[dict[str, Any]]:
        """The newest readings."""
        owner = owner_of(request)
        mine = (entry for entry in self._service.journal.entries() if _sees(owner, entry))
        return [
            {
                "id": entry.id,
                "created": entry.created,
                "document": entry.document,
                "problem": entry.problem,
                "answer": entry.result and entry.result["answer"],
                "running": entry.id in self._background.running,
            }
            for entry in islice(mine, LISTED)
        ]

    async def begin(self, request: Request, asked: Begin) -> dict[str, str]:
        """Begin a reading of uploaded files."""
        owner = owner_of(request)
        document = await asyncio.to_thread(self._service.files.document, owner, *asked.file_ids)
        return {"id": await self._background.begin(owner, document, asked.problem)}

    async def reading(
        self, request: Request, identity: str, after: Annotated[int, Query(ge=0, lt=2**62)] = 0
    ) -> dict[str, Any]:
        """A reading with its turns from number `after` on."""
        entry = self._entry(request, identity)
        run = self._background.running.get(entry.id)
        turns = self._service.journal.turns(entry.id, after)
        places = await self._places_of(entry)
        result = entry.result and {**entry.result, "evidence": _placed(entry.result["evidence"], places)}
        return {
            "id": entry.id,
            "document": entry.document,
            "problem": entry.problem,
            "start": entry.start and asdict(entry.start),
            "result": result,
            "running": run is not None,
            "share": run.position / max(1, run.characters) if run else 1.0,
            "total": entry.result and after + len(turns),
            "error": self._background.errors.get(entry.id),
            "turns": _turns(turns, after, places),
        }

    async def _places_of(self, entry: Entry) -> dict[str, int]:
        """Where its files begin in a reading's document: evidence counts from the start of its own file."""
        if entry.id not in self._places:
            try:
                document = await asyncio.to_thread(_reopened, entry) if _is_several(entry) else None
            except ApiError:  # its text cannot be shown, either
                document = None
            kept = dict(islice(self._places.items(), LISTED))
            self._places = {**kept, entry.id: document.places if document else {}}
        return self._places[entry.id]

    async def text(self, request: Request, identity: str, start: int, end: int) -> dict[str, str]:
        """Characters of a reading's document."""
        entry = self._entry(request, identity)
        if entry.id not in self._texts:
            document = await asyncio.to_thread(_reopened, entry)
            text = await asyncio.to_thread(lambda: "".join(piece.text for piece in document.pieces()))
            self._texts = {**dict(islice(self._texts.items(), 1)), entry.id: text}  # two at once, for comparing
        return {"text": self._texts[entry.id][max(0, start) : min(end, start + LONGEST_TEXT)]}

    async def on(self, request: Request, identity: str, asked: On) -> dict[str, str]:
        """Read on from a place of a reading, with another memory; the reading that was stays as it is."""
        owner, entry = owner_of(request), self._entry(request, identity)
        document = await asyncio.to_thread(_reopened, entry)
        start = Start(asked.memory, asked.characters)
        return {"id": await self._background.begin(owner, document, entry.problem, start)}

    async def resume(self, request: Request, identity: str) -> dict[str, str]:
        """Go on with a reading that was broken off."""
        owner, entry = owner_of(request), self._entry(request, identity)
        document = await asyncio.to_thread(_reopened, entry)
        return {"id": await self._background.begin(owner, document, entry.problem, entry.start)}

    async def list_evaluations(self, request: Request) -> list[dict[str, str]]:
        """Evaluations that can be opened, by their folders, with links that hold until the server ends."""
        if self._evaluations is None:
            return []
        names = sorted(path.parent.name for path in self._evaluations.glob("*/report.html"))
        return [
            {"name": name, "url": f"/evaluations/{quote(name)}/report.html?pass={self._pass(name)}"} for name in names
        ]

    async def report(self, name: str, given: Annotated[str, Query(alias="pass")] = "") -> FileResponse:
        """An evaluation's page. A link carries no key, so it has a pass."""
        if self._service.admission.limits.keys and not hmac.compare_digest(given.encode(), self._pass(name).encode()):
            raise ApiError(401, "open evaluations from the page", "authentication_error", "invalid_api_key")
        path = _below(self._evaluations, f"{name}/report.html") if self._evaluations is not None else None
        if path is None or name in ("", ".", ".."):
            raise ApiError(404, "there is no such evaluation", code="not_found")
        return FileResponse(path, headers={"Content-Security-Policy": _REPORT_POLICY})

    def _pass(self, name: str) -> str:
        return hmac.new(self._secret, name.encode("utf-8", "replace"), "sha256").hexdigest()

    def _entry(self, request: Request, identity: str) -> Entry:
        owner = owner_of(request)
        try:
            entry = self._service.journal.entry(identity)
        except InputError as error:
            raise ApiError(404, str(error), code="not_found") from error
        if not _sees(owner, entry):
            raise ApiError(404, f"no reading starts with {identity!r}", code="not_found")
        return entry


def _sees(owner: str, entry: Entry) -> bool:
    """Where there are no keys, everything in the journal; else what the same key asked for."""
    return owner == ANYONE or entry.options.get("owner") == owner


def _below(folder: Path, name: str) -> Path | None:
    """The file of that name below a folder, if there is one."""
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError):  # a name that is none
        return None


def _is_several(entry: Entry) -> bool:
    return len(entry.paths) > 1 or any(Path(path).is_dir() for path in entry.paths)


def _placed(evidence: list[dict[str, Any]], places: dict[str, int]) -> list[dict[str, Any]]:
    """Evidence with `at`, the first of its characters in the document."""
    return [{**one, "at": places.get(one["source"], 0) + one["start"]} for one in evidence]


def _turns(news: list[dict[str, Any]], after: int, places: dict[str, int]) -> dict[str, Any]:
    """Turns from number `after` on as columns; what changed the memory, with its evidence, beside them."""
    changes = [
        {"at": after + number, "memory": turn["memory"], "evidence": _placed(turn["evidence"], places)}
        for number, turn in enumerate(news)
        if turn["memory"] is not None
    ]
    return {
        "outcomes": "".join(_LETTERS[turn["outcome"]] for turn in news),
        "starts": [turn["start"] for turn in news],
        "ends": [turn["end"] for turn in news],
        "changes": changes,
    }


def _reopened(entry: Entry) -> Document:
    """A reading's document, from where it lay.

    Raises:
        ApiError: it is not there any more, or another one by now.
    """
    if not entry.paths:
        raise invalid("the text of this reading came with its request and was not kept: upload a file to see it here")
    try:
        document = open_document(*entry.paths)
    except DocumentError:
        raise invalid(f"{entry.document} is not there any more") from None
    if document.fingerprint != entry.fingerprint:
        raise invalid(f"{entry.document} has changed since it was read")
    return document
