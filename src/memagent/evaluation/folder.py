"""The output folder of one evaluation: recipe, results, peaks and the journal of its readings.

A result is on disk before the next problem begins, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memagent.atomic import write_whole
from memagent.errors import InputError, JournalError
from memagent.evaluation.outcome import Outcome, Peak
from memagent.evaluation.recipe import Recipe
from memagent.locks import LOCK, alone
from memagent.reading import Journal

RECIPE, RESULTS, PEAKS, DATA, READINGS = "recipe.toml", "results.jsonl", "peaks.json", "data.json", "readings"


class ResultFolder:
    """What a run has found so far; `outcomes` holds one entry for each line of `results.jsonl`."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        """Use `open`."""
        self.path = path
        self._recipe = recipe
        self.outcomes: list[Outcome] = []
        self.peaks: dict[tuple[str, int], Peak] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, recipe: Recipe, *, resume: bool) -> Iterator[ResultFolder]:
        """The folder for `recipe`: a new one, or with `resume` one of the same recipe.

        A run that ends before it has begun leaves nothing behind.

        Raises:
            InputError: the folder holds another run, or something else, or `resume` was not asked for.
            JournalError: another process is at work in it.
        """
        folder = cls(path, recipe)
        begun = (path / RECIPE).exists()
        if begun and not resume:
            raise InputError(f"{path} holds an evaluation already: go on with --resume, or name another folder")
        if not begun and path.exists() and (not path.is_dir() or any(one.name != LOCK for one in path.iterdir())):
            raise InputError(f"{path} is not empty and holds no evaluation: name another folder")
        if begun and (field := Recipe.read(path / RECIPE).difference(recipe)):
            raise InputError(f"{path} holds an evaluation with another {_option(field)}: name another folder")
        is_new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        try:
            with folder._lock():
                folder._read()
                yield folder
        finally:
            if is_new and not (path / RECIPE).exists():
                path.rmdir()

    def begin(self, digests: Mapping[str, str]) -> None:
        """Write the recipe down, and the digests of the files that problems are made from; nothing was asked yet.

        Raises:
            InputError: the run goes on, and a file is another one than it was.
        """
        path = self.path / DATA
        known: dict[str, str] = _json(path) if path.exists() else {}
        changed = [name for name in {**known, **digests} if known.get(name) != digests.get(name)]
        if path.exists() and changed:
            raise InputError(
                f"{changed[0]} has changed since the evaluation in {self.path} began, and results of both must not be "
                "mixed: restore it, or name another folder"
            )
        if not (self.path / RECIPE).exists():
            write_whole(self.path / RECIPE, self._recipe.text())
        write_whole(path, json.dumps(dict(digests), indent=1))

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        """The journal of this evaluation's readings."""
        with contextlib.closing(Journal(self.path / READINGS)) as journal:
            yield journal

    def add(self, outcome: Outcome) -> None:
        """Write one line of results.

        Raises:
            JournalError: it cannot be written.
        """
        path = self.path / RESULTS
        try:
            # Half of a surrogate pair in a reply becomes its escape, which JSON has too.
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(json.dumps(outcome.as_json(), ensure_ascii=False) + "\n")
        except OSError as error:
            raise JournalError(
                f"{path} cannot be written ({error.strerror}): free some space or make it writable, then resume"
            ) from error
        self.outcomes.append(outcome)

    def add_peak(self, peak: Peak) -> None:
        """Note a peak; of two for the same cell (a run that went on) the higher one stays."""
        known = self.peaks.get((peak.method, peak.length))
        if known is not None:
            peak = Peak(
                method=peak.method,
                length=peak.length,
                resident=_higher(known.resident, peak.resident),
                gpu=_higher(known.gpu, peak.gpu),
            )
        self.peaks[peak.method, peak.length] = peak
        write_whole(self.path / PEAKS, json.dumps([asdict(one) for one in self.peaks.values()], indent=1))

    def _read(self) -> None:
        results, peaks = self.path / RESULTS, self.path / PEAKS
        if results.exists():
            _drop_torn_line(results)
            self.outcomes = [_outcome(line, number, results) for number, line in enumerate(_lines(results), start=1)]
        if peaks.exists():
            found = [Peak(**record) for record in _json(peaks)]
            self.peaks = {(peak.method, peak.length): peak for peak in found}

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with alone(self.path):
            try:
                yield
            finally:
                if not (self.path / RECIPE).exists():
                    (self.path / LOCK).unlink(missing_ok=True)


# How the command line calls what a recipe has under another name.
_OPTIONS = {
    "suite": "suite",
    "samples": "--limit",
    "sources": "--source",
    "methods": "--protocols or --baseline",
    "models": "--model, or an option of it",
    "reading": "--temperature or other option of reading",
}


def _option(field: str) -> str:
    return _OPTIONS.get(field, f"--{field}")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): name another folder") from error


def _drop_torn_line(path: Path) -> None:
    """A line without its end is what a killed process left; its problem is worked on again."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file


def _outcome(line: str, number: int, path: Path) -> Outcome:
    try:
        return Outcome.from_json(json.loads(line))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}:{number} is no result of an evaluation: {error}") from error


def _higher(first: int | None, second: int | None) -> int | None:
    return max((one for one in (first, second) if one is not None), default=None)
