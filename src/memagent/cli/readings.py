"""`memagent readings`: list, look at, resume, export and delete what was read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memagent.cli.ask import print_all, tell_about, watching
from memagent.cli.live import MARKS, STYLES
from memagent.cli.memory_view import shown_memory
from memagent.cli.options import model_options
from memagent.cli.outcome import for_eyes, print_reading
from memagent.documents import Document, open_document
from memagent.errors import InputError, JournalError
from memagent.models import ModelOptions, open_model
from memagent.reading import Journal, Reader, Reading, Settings
from memagent.reading.journal import Entry
from memagent.reading.protocols import NO_MEMORY


@click.group("readings", invoke_without_command=True, short_help="List, show, resume, export or delete readings.")
@click.option(
    "--journal",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Another journal than your own: an evaluation keeps one in its readings folder.",
)
@click.pass_context
def command(ctx: click.Context, journal: Path | None) -> None:
    """Every reading is kept, with each of its turns. IDs may be shortened.

    \b
    memagent readings
    memagent readings show 3fa9
    memagent readings resume 3fa9
    memagent readings --journal results/readings show 3fa9
    """
    ctx.obj = journal
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


def _opened_journal() -> contextlib.closing[Journal]:
    folder: Path | None = click.get_current_context().find_object(Path)
    return contextlib.closing(Journal(folder) if folder else Journal.default())


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a reading.")
def list_command(as_json: bool) -> None:
    """List all readings, the newest first."""
    with _opened_journal() as journal:
        entries = journal.entries()
    if as_json:
        for entry in entries:
            click.echo(json.dumps(asdict(entry), ensure_ascii=False))
        return
    table = Table("id", "when", "state", "document", "problem", "answer", box=None, pad_edge=False)
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
        result = entry.result or {}
        row = [
            entry.id,
            when,
            result.get("status", "unfinished"),
            entry.document,
            entry.problem,
            result.get("answer", ""),
        ]
        table.add_row(*(Text(" ".join(str(cell).split())[:60]) for cell in row))
    for_eyes(stderr=False).print(table if entries else "no readings yet: memagent ask FILE -q PROBLEM")


@command.command("show")
@click.argument("reading_id")
@click.option("--json", "as_json", is_flag=True, help="The whole reading with its turns as JSON.")
@click.option("--svg", type=click.Path(dir_okay=False, writable=True), help="Also draw it, into this file.")
def show(reading_id: str, as_json: bool, svg: str | None) -> None:
    """Show a reading: how its memory changed, chunk by chunk, and its answer."""
    with _opened_journal() as journal:
        entry = journal.entry(reading_id)
        turns = journal.turns(entry.id)
    if as_json:
        click.echo(json.dumps({**asdict(entry), "turns": turns}, ensure_ascii=False))
        return
    console = Console(highlight=False, markup=False, emoji=False, record=svg is not None, width=100 if svg else None)
    console.print(Text(f"{entry.document}: {entry.problem}", style="bold"))
    print_turns(console, turns)
    if entry.result:
        print_reading(console, Reading.from_json(entry.result))
    else:
        console.print(Text(f"unfinished; to go on: memagent readings resume {entry.id}", style="yellow"))
    if svg:
        console.save_svg(svg, title=f"memagent readings show {entry.id}")


def print_turns(console: Console, turns: list[dict[str, Any]]) -> None:
    """The memory after each change, with the change marked; turns that kept it are one tick each."""
    memory, quiet = NO_MEMORY, Text()
    for turn in turns:
        if turn["memory"] is None:
            quiet.append(MARKS[turn["outcome"]], style=STYLES.get(turn["outcome"], "yellow"))
            continue
        if quiet:
            console.print(quiet)
            quiet = Text()
        place = f"chunk {turn['chunk']}, characters {turn['start']:,}–{turn['end']:,}: {turn['outcome']}"
        console.print(Text(place, style="dim"))
        console.print(shown_memory(memory, turn["memory"]))
        memory = turn["memory"]
    if quiet:
        console.print(quiet)


@command.command("resume")
@click.argument("reading_id")
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Another bound than it began with.")
@click.option("--json", "as_json", is_flag=True, help="The reading as a JSON object on stdout.")
@model_options
@click.pass_context
def resume(ctx: click.Context, /, reading_id: str, max_cost: float | None, as_json: bool, **given: Any) -> int:
    """Go on with an unfinished reading, with the settings it began with.

    Model options given here take the place of those it began with: another --base-url, say, or --concurrency.
    """
    written = {name for name in given if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    with _opened_journal() as journal:
        entry = journal.entry(reading_id)
        if entry.result:
            return print_all([Reading.from_json(entry.result)], as_json=as_json)
        options = ModelOptions.from_json({**entry.options, **{name: given[name] for name in written}})
        if max_cost is None:
            max_cost = entry.options.get("max_cost")
        if not entry.paths:
            raise InputError(f"reading {entry.id} was of a text handed in from code: resume it from there")
        document = open_document(*entry.paths)
        reading = asyncio.run(_resume(journal, entry, document, options, max_cost))
    return print_all([reading], as_json=as_json)


async def _resume(
    journal: Journal, entry: Entry, document: Document, options: ModelOptions, max_cost: float | None
) -> Reading:
    console = for_eyes()
    tell_about(document, console)
    settings = Settings(**entry.settings)
    async with contextlib.aclosing(await open_model(options, report=console.print)) as model:
        with watching(console) as view:
            reader = Reader(
                model, settings, journal=journal, max_cost=max_cost, on_progress=view.show, options=entry.options
            )
            return await reader.resume(document, entry)


@command.command("export")
@click.argument("reading_id")
@click.option("-o", "--output", type=click.File("w", encoding="utf-8"), default="-", help="A file instead of stdout.")
def export(reading_id: str, output: Any) -> None:
    """Write a reading, its turns and its memory after each of them as JSON."""
    with _opened_journal() as journal:
        entry = journal.entry(reading_id)
        record = {**asdict(entry), "turns": journal.turns(entry.id)}
    json.dump(record, output, ensure_ascii=False, indent=1)
    output.write("\n")


@command.command("delete")
@click.argument("reading_ids", nargs=-1, required=True, metavar="READING_ID…")
def delete(reading_ids: tuple[str, ...]) -> None:
    """Delete readings with all their turns."""
    with _opened_journal() as journal:
        for entry in [journal.entry(reading_id) for reading_id in reading_ids]:
            with journal.lock(entry.id):
                journal.delete(entry.id)
            click.echo(f"deleted {entry.id}", err=True)


@command.command("prune")
@click.option("--days", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Keep younger readings.")
@click.option("--unfinished", is_flag=True, help="Delete old unfinished readings as well.")
def prune(days: float, unfinished: bool) -> None:
    """Delete old readings, and spooled input that no reading needs any more."""
    oldest = time.time() - days * 86400
    with _opened_journal() as journal:
        old = [entry for entry in journal.entries() if entry.created < oldest and (entry.result or unfinished)]
        for entry in old:
            with contextlib.suppress(JournalError), journal.lock(entry.id):  # one in use is not old
                journal.delete(entry.id)
        removed = journal.drop_spooled()
    click.echo(f"deleted {len(old)} readings and {removed} spooled inputs", err=True)
