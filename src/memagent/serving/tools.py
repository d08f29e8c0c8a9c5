"""The reader as tools of an agent, by the Model Context Protocol's own SDK: ask, and look at what was read.

It does not know transports, but for whether callers may name files of this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from memagent import __version__
from memagent.documents import Document, open_document
from memagent.errors import InputError, MemagentError
from memagent.models.base import Model
from memagent.reading import Journal, Reader, Settings
from memagent.reading.run import Progress

INSTRUCTIONS = (
    "Reads documents of any length chunk by chunk with a small memory, and answers one problem from them. Ask with the "
    "whole question; a reading takes about a second for each thousand tokens, and the same again is free."
)
LISTED = 20
Result = TypeVar("Result")


def make_server(
    model: Model, settings: Settings, journal: Journal, *, options: dict[str, Any], may_open_files: bool
) -> MCPServer:
    """A server with all tools. With `may_open_files` callers name paths, which this process can read."""
    server = MCPServer("memagent", version=__version__, instructions=INSTRUCTIONS)
    tools = Tools(model, settings, journal, options)
    server.tool(name="ask")(tools.ask if may_open_files else tools.ask_text)
    server.tool(name="list_readings")(tools.list_readings)
    server.tool(name="open_reading")(tools.open_reading)
    return server


class Tools:
    """What an agent can do. Faults become one line, which the SDK hands on as the tool's error."""

    def __init__(self, model: Model, settings: Settings, journal: Journal, options: dict[str, Any]) -> None:
        self._model, self._settings, self._journal, self._options = model, settings, journal, options

    async def ask(
        self, problem: str, context: Context[Any, Any], files: list[str] | None = None, text: str = ""
    ) -> dict[str, Any]:
        """Answer a problem from files or folders (text, code, PDF, HTML, EPUB, DOCX), or from a text given here.

        Gives the answer with verbatim quotes as evidence, the memory it was given from, and what was read.
        """
        if bool(files) == bool(text):
            raise ToolError("give files or text, one of the two")
        document = await asyncio.to_thread(_opened, files or [], text)
        return await self._read(document, problem, context)

    async def ask_text(self, problem: str, text: str, context: Context[Any, Any]) -> dict[str, Any]:
        """Answer a problem from a text of any length.

        Gives the answer with verbatim quotes as evidence, the memory it was given from, and what was read.
        """
        return await self._read(await asyncio.to_thread(_opened, [], text), problem, context)

    async def list_readings(self, limit: int = LISTED) -> list[dict[str, Any]]:
        """The newest readings: their ids, documents, problems and answers."""
        return [
            {
                "reading_id": entry.id,
                "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created)),
                "document": entry.document,
                "problem": entry.problem,
                "state": entry.state,
                "answer": (entry.result or {}).get("answer"),
            }
            for entry in self._journal.entries()[: max(0, limit)]
        ]

    async def open_reading(self, reading_id: str) -> dict[str, Any]:
        """One reading: its answer, and each change of its memory with its place in the document."""
        entry = _plainly(lambda: self._journal.entry(reading_id))
        turns = self._journal.turns(entry.id)
        changes = [
            {name: turn[name] for name in ("chunk", "start", "end", "memory")} for turn in turns if turn["memory"]
        ]
        told = {"reading_id": entry.id, "document": entry.document, "problem": entry.problem, "state": entry.state}
        return {**told, "chunks": len(turns), "changes": changes, "result": entry.result}

    async def _read(self, document: Document, problem: str, context: Context[Any, Any]) -> dict[str, Any]:
        said: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

        def note(progress: Progress) -> None:
            share = progress.run.position / max(1, progress.run.characters)
            said.put_nowait((share, progress.run.memory if progress.turn and progress.turn.changed else ""))

        reader = Reader(self._model, self._settings, journal=self._journal, on_progress=note, options=self._options)
        telling = asyncio.ensure_future(_tell(context, said))
        try:
            reading = await reader.read(document, problem, resume=True)
        except MemagentError as error:
            raise ToolError(str(error)) from error
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        told = ("answer", "status", "memory", "reading_id")
        evidence, coverage = [asdict(one) for one in reading.evidence], asdict(reading.coverage)
        return {**{name: getattr(reading, name) for name in told}, "evidence": evidence, "coverage": coverage}


async def _tell(context: Context[Any, Any], said: asyncio.Queue[tuple[float, str]]) -> None:
    while True:
        share, memory = await said.get()
        await context.report_progress(share, 1.0, memory or None)


def _opened(files: list[str], text: str) -> Document:
    return _plainly(lambda: open_document(*files) if files else open_document(text=text, name="text"))


def _plainly(work: Callable[[], Result]) -> Result:
    """A fault of ours as one that the SDK shows the agent."""
    try:
        return work()
    except (InputError, MemagentError) as error:
        raise ToolError(str(error)) from error
