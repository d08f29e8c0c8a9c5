"""Checks files of problems: all that is wrong with one, by line and field, or what is in it.

It does not know how either is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from memagent.documents import open_document
from memagent.errors import DocumentError, InputError
from memagent.tasks import jsonl
from memagent.tasks.problem import Problem
from memagent.tasks.records import read_records
from memagent.tasks.selecting import kind_of_file


@dataclass(frozen=True, slots=True)
class Group:
    """Problems of one task and metric: how many, and their lengths, from the least to the most of `unit`."""

    task: str
    metric: str
    unit: str
    count: int
    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file's format (jsonl is our own), and all that is wrong with it, a line each; or what is in it."""

    kind: str
    faults: Sequence[str] = ()
    groups: Sequence[Group] = ()


def check(path: Path) -> Checked:
    """What is wrong with a file, else what is in it. Documents are opened too, each once.

    Of an official format's faults only the first is found; that a file cannot be read is a fault like others.

    Raises:
        SetupError: a document's format needs an extra that is not installed.
    """
    kind = ""
    try:
        kind = kind_of_file(path) or "jsonl"
        if kind == "jsonl":
            return _of_our_own(path)
        return Checked(kind=kind, groups=_groups(map(_measured, read_records(path))))
    except InputError as error:
        return Checked(kind=kind, faults=[str(error)])


def _of_our_own(path: Path) -> Checked:
    faults = jsonl.validate(path)
    opened = cache(lambda files: open_document(*files).characters)  # many problems may share a document
    measured: list[_Measured] = []
    for line, problem in () if faults else jsonl.numbered(path):
        try:
            measured.append(_measured(problem, opened(problem.files) if problem.files else None))
        except DocumentError as error:
            faults.append(jsonl.Fault(line, "document", str(error)))
    if faults:
        return Checked(kind="jsonl", faults=[f"{path}:{fault}" for fault in faults])
    return Checked(kind="jsonl", groups=_groups(measured))


_Measured = tuple[str, str, str, int]  # task, metric, unit, length


def _measured(problem: Problem, characters: int | None = None) -> _Measured:
    if problem.length is not None:
        return problem.task, problem.metric, "tokens", problem.length
    return problem.task, problem.metric, "characters", len(problem.context) if characters is None else characters


def _groups(measured: Iterable[_Measured]) -> list[Group]:
    lengths: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for task, metric, unit, length in measured:
        lengths[task, metric, unit].append(length)
    return [Group(*names, len(found), min(found), max(found)) for names, found in sorted(lengths.items())]
