"""`memagent ask`: read documents and answer problems from them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console

from memagent.cli.live import LiveView
from memagent.cli.options import model_options, pick_model, pick_settings, reading_options
from memagent.cli.outcome import for_eyes, print_reading
from memagent.documents import Document, open_document
from memagent.models import ModelOptions, open_model
from memagent.reading import Journal, Reader, Reading
from memagent.reading.forecast import Forecast, forecast
from memagent.reading.journal import data_folder


@click.command("ask", short_help="Read documents of any length and answer problems from them.")
@click.argument("files", nargs=-1, metavar="FILE…")
@click.option(
    "-q",
    "--question",
    "problems",
    multiple=True,
    metavar="PROBLEM",
    help="What to read for; several are read for in one pass.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would take, and read nothing.")
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop before more than this is spent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem on stdout.")
@click.option("--resume", is_flag=True, help="Go on with the newest unfinished reading of the same.")
@click.option("--follow", is_flag=True, help="Go on reading as the file grows, and answer anew; Ctrl-C ends it.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds between two looks at files that are followed.",
)
@reading_options
@model_options
def command(files: tuple[str, ...], problems: tuple[str, ...], **given: Any) -> int:
    """Read FILEs (text, code, PDF, HTML, EPUB, DOCX, folders; - is stdin) and answer PROBLEMs from them.

    \b
    memagent ask book.txt -q "Who inherits the house?"
    memagent ask src/ -q "Where are retries configured?" -q "Which errors are retried?"
    memagent ask report.pdf -q "What was the revenue in 2023?" --json | jq .evidence
    journalctl -u web | memagent ask - -q "When did the first error occur?"
    memagent ask /var/log/web.log -q "Which hosts failed?" --follow
    memagent ask book.txt -q "Who?" --model gpt-5-mini --price 0.25,2 --max-cost 0.50
    memagent ask book.txt -q "Who?" --model qwen2.5:7b --base-url http://localhost:11434/v1

    Exit status: 0 done, 2 bad input or setup, 3 stopped but resumable, 130 interrupted (resumable).
    """
    check(files, problems)
    console = for_eyes()
    if given["follow"]:
        from memagent.cli.following import follow

        return asyncio.run(follow(files, list(problems), pick_model(given), given, console))
    # Outside the event loop, where Ctrl-C ends it at once.
    document = open_document(*files, spool=data_folder() / "spool")
    tell_about(document, console)
    return asyncio.run(_ask(document, list(problems), pick_model(given), given, console))


def check(files: tuple[str, ...], problems: tuple[str, ...]) -> None:
    """Refuse a call without documents or problems."""
    if not files:
        raise click.UsageError("no document: name files or folders, or - for stdin")
    if not problems or not all(problem.strip() for problem in problems):
        raise click.UsageError('no problem: say what to read for with -q "…"')


async def _ask(
    document: Document, problems: list[str], options: ModelOptions, given: dict[str, Any], console: Console
) -> int:
    async with contextlib.aclosing(await open_model(options, report=console.print)) as model:
        if given["dry_run"]:
            plan = pick_settings(given).resolve(model)
            print_forecast(forecast(document, model, plan, problems), as_json=given["as_json"])
            return 0
        with contextlib.closing(Journal.default()) as journal, watching(console) as view:
            reader = Reader(
                model,
                pick_settings(given),
                journal=journal,
                max_cost=given["max_cost"],
                on_progress=view.show,
                options={**options.as_json(), "max_cost": given["max_cost"]},
            )
            readings = await reader.read_all(document, problems, resume=given["resume"])
    return print_all(readings, as_json=given["as_json"])


def tell_about(document: Document, console: Console) -> None:
    """Say what of the document is not read, and what was replaced in it."""
    for skipped in document.skipped:
        console.print(f"skipped {skipped.name}: {skipped.reason}", style="yellow", soft_wrap=True)
    for note in document.notes:
        console.print(f"note: {note}", style="yellow", soft_wrap=True)


@contextlib.contextmanager
def watching(console: Console) -> Iterator[LiveView]:
    """A live view; a reading that stops half-way ends with how to go on."""
    view = LiveView(console)
    try:
        with view:
            yield view
    except BaseException:
        for reading_id in view.reading_ids:
            console.print(f"to go on: memagent readings resume {reading_id}", soft_wrap=True)
        raise


def print_all(readings: list[Reading], *, as_json: bool) -> int:
    """Print finished readings; the exit status."""
    console = for_eyes(stderr=False)
    for reading in readings:
        if as_json:
            click.echo(json.dumps(reading.as_json(), ensure_ascii=False))
        else:
            print_reading(console, reading)
    return 3 if any(reading.status == "unread" for reading in readings) else 0


def print_forecast(found: Forecast, *, as_json: bool) -> None:
    """Print what a reading would take."""
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    about = "" if found.exact else "about "
    estimated = "" if found.exact else " (estimated: the text is large, or the tokenizer unknown)"
    cost = "" if found.cost_usd_at_most is None else f", ${found.cost_usd_at_most:.4f}"
    looks = (
        f"\nand without the second looks of {found.not_counted} where the memory changes" if found.not_counted else ""
    )
    click.echo(
        f"{about}{found.document_tokens:,} tokens in {found.chunks:,} chunks{estimated}\n"
        f"{found.model_calls:,} calls, at most {found.prompt_tokens_at_most:,} tokens in and "
        f"{found.completion_tokens_at_most:,} out{cost}, without calls that read-ahead may spend in vain{looks}"
    )
