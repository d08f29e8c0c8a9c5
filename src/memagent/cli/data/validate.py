"""`memagent data validate`: check files of problems."""

from __future__ import annotations

from pathlib import Path

import click

from memagent.cli.memory_view import printable
from memagent.errors import InputError
from memagent.tasks.checking import Group, check


@click.command("validate", short_help="Check files of problems, by line and field.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
def command(files: tuple[Path, ...]) -> None:
    """Check FILEs of problems: your own (the schema is in docs/problems.md), or of one of the official formats.

    Prints each fault as FILE:LINE: FIELD: what is wrong; of a file without a fault, how many problems it holds, by
    task and metric, and how long they are.

    \b
    memagent data validate my-problems.jsonl
    memagent data validate train.parquet eval_50.json

    Exit status: 0 all is right, 2 something is not.
    """
    faults, at_fault = 0, 0
    for path in files:
        found = check(path)
        for fault in found.faults:
            click.echo(printable(fault))
        for group in found.groups:
            click.echo(printable(f"{path} ({found.kind}): {told(group)}"))
        faults += len(found.faults)
        at_fault += bool(found.faults)
    if faults:
        raise InputError(f"{counted(faults, 'fault')} in {at_fault} of {counted(len(files), 'file')}")


def told(group: Group) -> str:
    """A group in words."""
    lengths = f"{group.least:,}" if group.least == group.most else f"{group.least:,} to {group.most:,}"
    problems = counted(group.count, "problem")
    return f"{problems}, task {group.task}, metric {group.metric}, {lengths} {group.unit}"


def counted(number: int, name: str) -> str:
    """1 problem, 2 problems."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"
