"""`memagent data filter`: drop the problems that a model answers with no context."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from memagent.atomic import write_whole
from memagent.cli.eval_view import EvalView, share_bar, share_line
from memagent.cli.evaluate import Interrupted
from memagent.cli.memory_view import printable
from memagent.cli.options import Tokens, model_options, pick_model, pick_settings
from memagent.cli.outcome import for_eyes
from memagent.errors import InputError, JournalError
from memagent.evaluation.best_of_n import BestOfN, Plan, Tally, distinct
from memagent.evaluation.progress import State
from memagent.reading import Journal
from memagent.tasks.records import read_records
from memagent.tasks.selecting import check_names, select


@click.command("filter", short_help="Drop the problems that a model answers with no context.")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="Where the problems go that are kept, in the format of IN.",
)
@click.option("--samples", type=click.IntRange(1), default=2, show_default=True, help="Of each model, for a question.")
@click.option("--also", multiple=True, metavar="MODEL", help="Another model, with the same options.")
@click.option("--metric", metavar="NAME", help="What judges replies (default: each problem's own metric).")
@click.option(
    "--at-least",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SCORE",
    help="From which score on a reply is a hit.",
)
@click.option("--temperature", type=click.FloatRange(0, 2), default=1.0, show_default=True)
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds draw other samples.")
@click.option("--answer-tokens", type=Tokens(), default=256, show_default=True, help="Tokens of a reply.")
@click.option(
    "--thinking-tokens",
    type=Tokens(),
    default=0,
    show_default=True,
    help="Tokens that a reasoning model may think before it.",
)
@click.option("--resume", is_flag=True, help="Go on with the filtering into OUT.")
@model_options
def command(source: Path, output: Path, resume: bool, **given: Any) -> None:
    """Drop the problems of IN that a model answers with no context at all: any hit in N samples of each model.

    IN is a file of problems of your own, or of one of the official formats. OUT gets the records that are kept, as
    they are, OUT.report.json what was dropped, and by which reply. All replies are kept in the folder OUT.filter,
    where --resume finds them: nothing is asked twice, also after kill -9.

    \b
    memagent data filter train.parquet -o kept.parquet --model Qwen2.5-7B --also Qwen2.5-7B-Instruct \\
        --base-url http://localhost:8000/v1
    memagent data filter my-problems.jsonl -o kept.jsonl --samples 4 --metric em --resume

    Exit status: 0 done, 2 bad input or setup, 3 stopped but resumable, 130 interrupted (resumable).
    """
    work = output.with_name(f"{output.name}.filter")
    check_paths(source, output, work, resume=resume)
    questions = distinct(read_records(source), given["metric"])
    plan = Plan(
        models=tuple(pick_model({**given, "model": name}) for name in (given["model"], *given["also"])),
        samples=given["samples"],
        at_least=given["at_least"],
        settings=pick_settings(given),
    )
    with replies(work, output) as journal:
        filtering = BestOfN(questions, plan, journal)
        try:
            asyncio.run(run(filtering, for_eyes()))
        except KeyboardInterrupt:
            raise Interrupted("interrupted; what was asked is kept: the same command with --resume goes on") from None
        select(source, output, filtering.kept())
    report = output.with_name(f"{output.name}.report.json")
    found = {"input": str(source), **filtering.as_json()}
    write_whole(report, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    print_summary(for_eyes(stderr=False), filtering, output, report)


def check_paths(source: Path, output: Path, work: Path, *, resume: bool) -> None:
    """Raise InputError where something would be overwritten that is not this filter's."""
    check_names(source, output)
    if output.exists() and not (resume and work.exists()):
        raise InputError(f"{output} is there already: delete it or name another one")
    if work.exists() and not resume:
        raise InputError(f"{work} holds a filtering that is not done: go on with --resume, or delete it")


@contextlib.contextmanager
def replies(work: Path, output: Path) -> Iterator[Journal]:
    """The journal in the folder `work`, for this process alone. Where nothing was asked the folder goes again."""
    is_empty = False
    try:
        with contextlib.closing(Journal(work)) as journal, alone(journal, output):
            try:
                yield journal
            finally:
                is_empty = not any(journal.spent(entry.id)["model_calls"] for entry in journal.entries())
    finally:
        if is_empty:
            shutil.rmtree(work)


@contextlib.contextmanager
def alone(journal: Journal, output: Path) -> Iterator[None]:
    """Keeps other processes from filtering into the same file.

    Raises:
        JournalError: one does.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(journal.lock("filter"))
        except JournalError:
            raise JournalError(f"another process is filtering into {output}: wait for it") from None
        yield


async def run(filtering: BestOfN, console: Console) -> None:
    """Ask, and show how far it is."""

    def line(state: State) -> str:
        asked = sum(tally.asked for tally in filtering.tallies)
        return f"{printable(state.now)}: {asked:,} samples of {state.total:,} questions, {share_line(state)}"

    def drawn(state: State) -> Group:
        return Group(tally_table(filtering.tallies), share_bar(state), Text(line(state)))

    with EvalView(console, drawn=drawn, line=line) as view:
        shown = asyncio.ensure_future(view.keep_shown())
        try:
            await filtering.run(on_state=view.show, report=view.say)
        finally:
            shown.cancel()


def tally_table(tallies: Sequence[Tally]) -> Table:
    """A row for each sample of each model."""
    table = Table("model", box=None, pad_edge=False)
    for name in ("sample", "asked", "hit", "failed"):
        table.add_column(name, justify="right")
    for tally in tallies:
        numbers = (tally.sample, tally.asked, tally.hits, tally.failed)
        table.add_row(printable(tally.model), *(f"{number:,}" for number in numbers))
    return table


def print_summary(console: Console, filtering: BestOfN, output: Path, report: Path) -> None:
    """What became of how many problems, and where the rest is."""
    console.print(tally_table(filtering.tallies))
    found = filtering.as_json()
    problems, questions = found["problems"], found["questions"]
    console.print(
        f"{problems['read']:,} problems read ({questions['read']:,} questions), {problems['kept']:,} kept, "
        f"{problems['dropped']:,} dropped",
        soft_wrap=True,
    )
    if questions["failed"]:
        first = found["failed"][0]["error"]
        console.print(f"{questions['failed']:,} questions are kept without all their samples; the first: {first}",
                      soft_wrap=True)  # fmt: skip
    console.print(f"{output}, and what was dropped: {report}", soft_wrap=True)
