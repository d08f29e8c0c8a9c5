"""Records of a file or a hub dataset, one by one: JSON, JSON lines, Parquet, with or without gzip.

It does not know what the records mean.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from memagent.errors import DocumentError, InputError, SetupError
from memagent.extras import extra

HUB = "hub:"
Record = dict[str, Any]
_BLOCK = 1 << 20  # characters of a list that are read at a time
_BETWEEN = re.compile(r"[\s,]*")
_ROWS = 64  # of a Parquet file that are read at a time: their documents may be long


def records(source: str, split: str | None = None) -> Iterator[tuple[str, Record]]:
    """Each record with its place (`FILE:LINE`, `FILE, record N`) for messages. `split` is the hub's.

    A source `hub:OWNER/NAME[:CONFIG]` is loaded by the `datasets` library, which caches it.

    Raises:
        DocumentError: the file is missing, empty or cannot be read.
        InputError: it is no JSON, or a record is no object.
        SetupError: the hub cannot be reached or has no such dataset.
    """
    if source.startswith(HUB):
        yield from _of_hub(source, split)
        return
    path = Path(source)
    if not path.is_file():
        raise DocumentError(f"there is no file {source}")
    try:
        yield from _of_parquet(path) if path.suffix == ".parquet" else _of_text(path)
    except (OSError, EOFError, UnicodeError, zlib.error) as error:
        raise DocumentError(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _of_text(path: Path) -> Iterator[tuple[str, Record]]:
    """A list, an object a line, or one object; `{"data": [...]}` (SQuAD) is the list in it."""
    with _opened(path) as file:
        start = _first_character(file)
        if not start:
            raise DocumentError(f"{path} is empty")
        if start == "[":
            yield from _numbered(path, _entries(path, file))
        else:
            yield from _of_lines(path, file)


def _opened(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _first_character(file: TextIO) -> str:
    """The first that is no white space; the file is then at its start again."""
    found = next((line.strip()[0] for line in iter(lambda: file.readline(_BLOCK), "") if line.strip()), "")
    file.seek(0)
    return found


def _of_lines(path: Path, file: TextIO) -> Iterator[tuple[str, Record]]:
    first = True
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not first:
                raise InputError(f"{place} is no JSON: {error}") from error
            yield from _of_object(path, line + file.read())
            return
        first = False
        if isinstance(record, dict) and isinstance(record.get("data"), list):
            yield from _numbered(path, iter(record["data"]))
        else:
            yield place, _object(place, record)


def _of_object(path: Path, text: str) -> Iterator[tuple[str, Record]]:
    """One object over several lines."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    found = record.get("data") if isinstance(record, dict) else None
    yield from _numbered(path, iter(found if isinstance(found, list) else [record]))


def _numbered(path: Path, found: Iterator[Any]) -> Iterator[tuple[str, Record]]:
    for number, record in enumerate(found, start=1):
        place = f"{path}, record {number}"
        yield place, _object(place, record)


def _entries(path: Path, file: TextIO) -> Iterator[Any]:
    """The entries of one list, read in blocks, since some official files have half a gigabyte."""
    decoder = json.JSONDecoder()
    text, at, block, count = file.read(_BLOCK).lstrip(), 1, _BLOCK, 0
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        try:
            if text[at] == "]":
                return
            entry, end = decoder.raw_decode(text, at)
        except (ValueError, IndexError) as error:  # the entry may go on in the next block
            if not (more := file.read(block)):
                raise InputError(f"{path} is no JSON: it breaks off, or is at fault, behind record {count}") from error
            text, at, block = text[at:] + more, 0, block * 2
        except RecursionError as error:
            raise InputError(f"{path} is nested too deeply") from error
        else:
            yield entry
            at, block, count = end, _BLOCK, count + 1


def _of_parquet(path: Path) -> Iterator[tuple[str, Record]]:
    with extra("eval", "reading Parquet"):
        import pyarrow
        from pyarrow import parquet
    try:
        with parquet.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=_ROWS)
            yield from _numbered(path, (record for batch in batches for record in batch.to_pylist()))
    except pyarrow.ArrowException as error:
        raise DocumentError(f"{path} is no readable Parquet file: {str(error).splitlines()[0]}") from error


def _of_hub(source: str, split: str | None) -> Iterator[tuple[str, Record]]:
    with extra("eval", "loading a dataset of the hub"):
        import datasets
    name, _, config = source.removeprefix(HUB).partition(":")
    wanted = _HUB_SPLITS.get(split, split)
    try:
        found = datasets.load_dataset(name, config or None, split=wanted)
    except Exception as error:  # the library raises many kinds, for the network among others
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SetupError(f"the dataset {name} cannot be loaded from the hub: {why}") from error
    for number, record in enumerate(found, start=1):
        yield f"{source}, record {number}", dict(record)


_HUB_SPLITS = {None: "validation", "dev": "validation", "all": "train+validation"}


def _object(place: str, record: Any) -> Record:
    if not isinstance(record, dict):
        raise InputError(f"{place} is no JSON object")
    return record
