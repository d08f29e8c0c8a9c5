"""Writes some of the problems of a file to another one, each record as it stands there, in the same format.

Problems that are read and written anew would get new numbers, and lose what only their file's format holds.
It does not know by what they are chosen.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Container
from pathlib import Path

from memagent.atomic import replacing
from memagent.errors import InputError, OptionError
from memagent.extras import extra
from memagent.tasks import jsonl
from memagent.tasks.official import kind_of
from memagent.tasks.qa.sources import Record, records

_ROWS = 256  # of Parquet that are in memory at once
# What stands before, between and behind records.
_LINES = (b"", b"\n", b"\n")
_LIST = (b"[\n", b",\n", b"\n]\n")


def kind_of_file(path: Path) -> str | None:
    """The official format of a file, told by its first record; None where it is our own, or broken.

    Raises:
        DocumentError: it is Parquet and cannot be read.
        InputError: it has no record, or records of no format at all.
    """
    try:
        first = next(records(str(path)), None)
    except InputError:
        if path.suffix == ".parquet":
            raise
        return None  # our own reader names all faults
    if first is None:
        raise InputError(f"{path} holds no problem")
    place, record = first
    kind = kind_of(record)
    if kind is None and not _is_line(place, path):
        raise InputError(f"{place} is of no known format: its fields are {', '.join(record)}")
    return kind


def check_names(source: Path, target: Path) -> None:
    """Raise OptionError where what is selected from `source` could not be read again as `target`."""
    if (source.suffix == ".parquet") != (target.suffix == ".parquet"):
        suffix = "the suffix .parquet" if source.suffix == ".parquet" else "another suffix"
        raise OptionError(f"{target} gets the format of {source}: give it {suffix}")


def select(source: Path, target: Path, numbers: Container[int]) -> int:
    """Write those problems of `source` whose number, from 0, is in `numbers`; how many there were.

    `target` is packed where its name ends in .gz, and appears when it is complete.

    Raises:
        DocumentError, InputError: `source` cannot be read.
        OptionError: as `check_names`.
    """
    check_names(source, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if kind_of_file(source) is None:
        found = enumerate(jsonl.stream(source))
        return jsonl.write(target, (problem for number, problem in found if number in numbers))
    with replacing(target) as part:
        if source.suffix == ".parquet":
            return _copy_rows(source, part, numbers)
        return _copy_text(source, part, numbers, packed=target.suffix == ".gz")


def _copy_rows(source: Path, target: Path, numbers: Container[int]) -> int:
    with extra("eval", "filtering Parquet"):
        import pyarrow
        from pyarrow import parquet
    at = count = 0
    with parquet.ParquetFile(source) as file, parquet.ParquetWriter(target, file.schema_arrow) as writer:
        for batch in file.iter_batches(batch_size=_ROWS):
            rows = [row for row in range(len(batch)) if at + row in numbers]
            if rows:
                writer.write_batch(batch.take(pyarrow.array(rows)))
            at, count = at + len(batch), count + len(rows)
    return count


def _copy_text(source: Path, target: Path, numbers: Container[int], *, packed: bool) -> int:
    """A list stays a list, and lines stay lines."""
    opening, between, closing = _LINES if _is_line(next(records(str(source)))[0], source) else _LIST
    count = 0
    with gzip.open(target, "wb") if packed else target.open("wb") as file:
        file.write(opening)
        for number, (_, record) in enumerate(records(str(source))):
            if number in numbers:
                file.write((between if count else b"") + _encoded(record))
                count += 1
        file.write(closing)
    return count


def _is_line(place: str, path: Path) -> bool:
    """Whether a record's place is a line of `path`, and not an entry of a list or a row."""
    return place.startswith(f"{path}:")


def _encoded(record: Record) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can only spell out
        return json.dumps(record).encode()
