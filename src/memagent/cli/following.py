"""`memagent ask --follow`: an answer that is kept up to date while a file grows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from memagent.cli.options import pick_settings
from memagent.cli.outcome import for_eyes, print_reading
from memagent.documents import Document, open_document
from memagent.errors import DocumentError, OptionError
from memagent.models import ModelOptions, open_model
from memagent.reading import Journal, Reader
from memagent.reading.following import follow as following


async def follow(
    files: tuple[str, ...], problems: list[str], options: ModelOptions, given: dict[str, Any], console: Console
) -> int:
    """Answer one problem again and again, until Ctrl-C; what did not change is not said twice."""
    if len(problems) != 1 or len(files) != 1 or given["dry_run"] or given["resume"]:
        raise OptionError("--follow takes one problem and one file, and neither --dry-run nor --resume")
    async with contextlib.aclosing(await open_model(options, report=console.print)) as model:
        with contextlib.closing(Journal.default()) as journal:
            settings, limit = pick_settings(given), given["max_cost"]
            reader = Reader(model, settings, journal=journal, max_cost=limit, options=options.as_json())
            said = ""
            async for reading in following(reader, problems[0], grown(Path(files[0]), given["every"])):
                if given["as_json"]:
                    click.echo(json.dumps(reading.as_json(), ensure_ascii=False))
                elif reading.answer != said:
                    console.rule(time.strftime("%H:%M:%S"))
                    print_reading(for_eyes(stderr=False), reading)
                said = reading.answer
    return 0


async def grown(path: Path, every: float) -> AsyncIterator[Document]:
    """The file as a document, now and whenever it has grown.

    Raises:
        DocumentError: it is missing, or became shorter: what was read of it is not there any more.
    """
    size = 0
    while True:
        now = path.stat().st_size if path.is_file() else -1
        if now < size:
            what = "is no file" if now < 0 else "became shorter while it was followed: start again"
            raise DocumentError(f"{path} {what}")
        if now > size:
            yield await asyncio.to_thread(open_document, str(path), growing=True)
            size = now
        await asyncio.sleep(every)
