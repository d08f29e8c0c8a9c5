"""What a run has measured: a line a record in `metrics.jsonl`, and the same figures for TensorBoard and W&B.

The file is what is read again; the others are for looking. It does not know what the figures mean. In all of them a
step's place is the number of steps done with it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from memagent.errors import InputError, StoppedError
from memagent.extras import extra
from memagent.training.metrics import StepMetrics, ValidationMetrics

LINES, TENSORBOARD, WANDB_ID = "metrics.jsonl", "tensorboard", "wandb-id.txt"

Record = StepMetrics | ValidationMetrics
_KINDS: Mapping[str, type[StepMetrics] | type[ValidationMetrics]] = {
    "step": StepMetrics,
    "validation": ValidationMetrics,
}


class Sink(Protocol):
    """Where records go."""

    def write(self, record: Record) -> None:
        """Take one in."""
        ...

    def close(self) -> None:
        """After the last one."""
        ...


class Log(Protocol):
    """Where a run's records go; `records` are those so far, of all its sessions."""

    records: list[Record]

    def add(self, record: Record) -> None:
        """Take in one record."""
        ...

    @property
    def validations(self) -> list[ValidationMetrics]:
        """The validations among the records."""
        ...

    def close(self) -> None:
        """Nothing is added after this."""
        ...


class Records:
    """A log that is kept in memory alone, for the processes that do not write it."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def add(self, record: Record) -> None:
        """See `Log`."""
        self.records.append(record)

    @property
    def validations(self) -> list[ValidationMetrics]:
        """See `Log`."""
        return [one for one in self.records if isinstance(one, ValidationMetrics)]

    def close(self) -> None:
        """See `Log`."""


class RunLog(Records):
    """The log of the run in a folder, for the one process that writes it; `records` are those of all its sessions.

    What was logged beyond `steps_done`, the steps of the checkpoint that a run goes on from, is dropped, as it will be
    logged again. A validation after exactly so many steps stays.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps_done: int = 0,
        wandb: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """With `wandb` the run is sent to Weights & Biases, too, with its `settings`.

        Raises:
            InputError: the folder holds lines that are no records.
            SetupError: TensorBoard or Weights & Biases is not installed.
            StoppedError: the folder cannot be written to.
        """
        self._lines = folder / LINES
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_torn_line(self._lines)
            super().__init__(_rewind(self._lines, steps_done))
            self._sinks: list[Sink] = [_Lines(self._lines), _TensorBoard(folder / TENSORBOARD, steps_done)]
            self._sinks += [_WandB(folder, settings or {})] if wandb else []
        except OSError as error:
            raise _cannot_write(self._lines, error) from error

    def add(self, record: Record) -> None:
        """Take in one record; its line is on the disk when this returns.

        Raises:
            StoppedError: it cannot be written.
        """
        try:
            for sink in self._sinks:
                sink.write(record)
        except OSError as error:
            raise _cannot_write(self._lines, error) from error
        super().add(record)

    def close(self) -> None:
        """Nothing is written after this."""
        for sink in self._sinks:
            sink.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_log(folder: Path) -> list[Record]:
    """The records of the run in a folder, in order; none where nothing was logged. A torn last line is none yet.

    Raises:
        InputError: a line is no record; names it.
    """
    return [record for record, _ in _records(folder / LINES)]


def place(record: Record) -> int:
    """How many steps are done with it."""
    return record.step + 1 if isinstance(record, StepMetrics) else record.step


def _records(path: Path) -> Iterator[tuple[Record, int]]:
    """Each record, and the byte that its line begins with."""
    begin = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else (), start=1):
        if line.endswith(b"\n"):
            yield _record(line, f"{path}:{number}"), begin
        begin += len(line)


def _record(line: bytes, where: str) -> Record:
    try:
        values = json.loads(line)
        kind = _KINDS[values.pop("kind")]
        return kind(**{name: _read(value) for name, value in values.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{where} is no record of a training run: {error}") from error


def _read(value: Any) -> Any:
    if value is None:
        return math.nan
    return tuple(value) if isinstance(value, list) else value


def _line(record: Record) -> str:
    """JSON without a None, and null for a number that is not finite, as JSON has none of those."""
    kind = "step" if isinstance(record, StepMetrics) else "validation"
    values = {name: value for name, value in dataclasses.asdict(record).items() if value is not None}
    finite = {name: None if isinstance(one, float) and not math.isfinite(one) else one for name, one in values.items()}
    return json.dumps({"kind": kind, **finite}, allow_nan=False) + "\n"


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes() if path.exists() else b""
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def _rewind(path: Path, steps_done: int) -> list[Record]:
    """The records up to `steps_done`; the file is cut behind them, as later lines are of later steps."""
    kept = []
    for record, begin in _records(path):
        if place(record) > steps_done:
            os.truncate(path, begin)
            break
        kept.append(record)
    return kept


def _figures(record: Record) -> dict[str, float]:
    """What can be drawn, by name: step/reward, validation/mean."""
    kind = "step" if isinstance(record, StepMetrics) else "validation"
    values = dataclasses.asdict(record)
    del values["step"]
    return {f"{kind}/{name}": value for name, value in values.items() if isinstance(value, int | float)}


class _Lines:
    """The file, on the disk with each line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, record: Record) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """It is closed after each line."""


class _TensorBoard:
    """Event files. What lies beyond the steps done is marked as superseded, and TensorBoard leaves it out."""

    def __init__(self, folder: Path, steps_done: int) -> None:
        with extra("train", "writing for TensorBoard"):
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(folder), purge_step=steps_done + 1 if folder.exists() else None)

    def write(self, record: Record) -> None:
        for name, value in _figures(record).items():
            self._writer.add_scalar(name, value, place(record))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _WandB:
    """Weights & Biases; a run that goes on is the same there. It keeps points of steps that are done again."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        with extra("wandb", "sending the run to Weights & Biases"):
            import wandb
        known = folder / WANDB_ID
        if not known.exists():
            known.write_text(uuid.uuid4().hex[:12], encoding="ascii")
        self._run = wandb.init(
            project="memagent",
            name=folder.resolve().name,
            id=known.read_text(encoding="ascii").strip(),
            resume="allow",
            dir=str(folder),
            config=dict(settings),
        )
        self._run.define_metric("*", step_metric="steps")

    def write(self, record: Record) -> None:
        self._run.log({"steps": place(record), **_figures(record)})

    def close(self) -> None:
        self._run.finish()


def _cannot_write(path: Path, error: OSError) -> StoppedError:
    return StoppedError(f"cannot write {path}: {error.strerror or error}; free some space and go on with --resume")
