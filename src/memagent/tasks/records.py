"""Files of problems in the formats that the field uses, written and read one record after the other.

What a record looks like is `official.py`'s, our own format `jsonl.py`'s. It does not know how problems are made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

from memagent.atomic import replacing
from memagent.errors import InputError, OptionError
from memagent.extras import extra
from memagent.tasks import jsonl
from memagent.tasks.official import from_record, kind_of, to_eval, to_memagent, to_nvidia, to_train
from memagent.tasks.problem import Problem
from memagent.tasks.qa.sources import Record, records

Writer = Callable[[Path, Iterable[Problem]], int]
_ROWS = 64  # of a Parquet file that are in memory at once


def write_nvidia(path: Path, problems: Iterable[Problem]) -> int:
    """NVIDIA/RULER's JSON lines: `input` is the whole prompt without the answer prefix, which has its own field."""
    return _write_json(path, _records(to_nvidia, problems))


def write_memagent(path: Path, problems: Iterable[Problem]) -> int:
    """MemAgent's RULER JSON lines: `input` is the question alone, `context` the document."""
    return _write_json(path, _records(to_memagent, problems))


def write_eval_json(path: Path, problems: Iterable[Problem]) -> int:
    """MemAgent's `eval_{docs}.json`: one list."""
    return _write_json(path, _records(to_eval, problems), start="[\n", joint=",\n", end="\n]\n")


def write_train_parquet(path: Path, problems: Iterable[Problem]) -> int:
    """The parquet that MemAgent (and verl's RLHFDataset) trains from: the context in a column of its own."""
    with extra("eval", "writing Parquet"):
        import pyarrow
        from pyarrow import parquet
    schema, count = _schema(pyarrow), 0
    found = _records(to_train, problems)
    with _of_text(path) as part_of, parquet.ParquetWriter(part_of, schema) as file:
        while rows := list(islice(found, _ROWS)):
            file.write_table(pyarrow.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


WRITERS: Mapping[str, Writer] = {
    "nvidia": write_nvidia,
    "memagent": write_memagent,
    "eval-json": write_eval_json,
    "train-parquet": write_train_parquet,
    "jsonl": jsonl.write,
}
SUFFIXES = {"nvidia": "jsonl", "memagent": "jsonl", "eval-json": "json", "train-parquet": "parquet", "jsonl": "jsonl"}


def writer_named(name: str) -> Writer:
    """The writer of a format.

    Raises:
        OptionError: there is none.
    """
    if name not in WRITERS:
        raise OptionError(f"there is no format {name}: take {', '.join(WRITERS)}")
    return WRITERS[name]


def check_new(path: Path) -> None:
    """Raise InputError where a file of problems would replace another one, or its folder cannot be one."""
    if path.exists():
        raise InputError(f"{path} is there already: delete it or name another one")
    above = next((folder for folder in path.parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise InputError(f"{above} is no folder to write to")


def write(path: Path, problems: Iterable[Problem], format_name: str) -> int:
    """Write a file in the named format, with its folder; how many problems there were.

    Raises:
        InputError: the file is there already, or a problem holds what is no text.
        OptionError: there is no such format.
    """
    writer = writer_named(format_name)
    check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return writer(path, problems)


def read_records(path: Path) -> list[Problem]:
    """The problems of a file in any of the formats, told by their fields.

    Raises:
        DocumentError: it cannot be read.
        InputError: a record lacks a field of its format, or is of none; names its line.
    """
    found = records(str(path))
    try:
        first = next(found, None)
    except InputError:
        if path.suffix == ".parquet":
            raise
        return jsonl.read(path)  # our own reader names all faults
    kind = None if first is None else kind_of(first[1])
    if first is None or (kind is None and first[0].startswith(f"{path}:")):
        return jsonl.read(path)
    if kind is None:
        raise InputError(f"{first[0]} is of no known format: its fields are {', '.join(first[1])}")
    return [from_record(kind, place, record, number) for number, (place, record) in enumerate(chain([first], found))]


def _records(make: Callable[[int, Problem], Record], problems: Iterable[Problem]) -> Iterator[Record]:
    return (make(number, problem) for number, problem in enumerate(problems))


def _write_json(path: Path, found: Iterable[Record], *, start: str = "", joint: str = "\n", end: str = "\n") -> int:
    """One record a line, with what makes a list of them."""
    count = 0
    with _of_text(path) as part_of, part_of.open("w", encoding="utf-8") as file:
        file.write(start)
        for record in found:
            file.write(f"{joint if count else ''}{json.dumps(record, ensure_ascii=False)}")
            count += 1
        file.write(end)
    return count


def _schema(pyarrow: Any) -> Any:
    """The columns of the training parquet, in the official order."""
    text, whole = pyarrow.string(), pyarrow.int64()
    texts = pyarrow.list_(text)
    about = {"index": whole, "question": text, "num_docs": whole, "length": whole, "id": text, "task": text}
    about |= {"metric": text, "max_tokens": whole, "tokenizer": text, "facts": texts, "notes": text}
    return pyarrow.schema(
        {
            "data_source": text,
            "prompt": pyarrow.list_(pyarrow.struct({"role": text, "content": text})),
            "context": text,
            "ability": text,
            "reward_model": pyarrow.struct({"style": text, "ground_truth": texts}),
            "extra_info": pyarrow.struct(about),
        }
    )


@contextmanager
def _of_text(path: Path) -> Iterator[Path]:
    """A file to fill in the place of `path`; text that UTF-8 cannot hold is an InputError."""
    try:
        with replacing(path) as part:
            yield part
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: a problem holds half of a surrogate pair, which is no text") from error
