"""A user's own problems, a JSON object a line; and what is wrong with a file of them, by line and field.

    {"question": "Who inherits the house?", "answers": ["Clara"], "document": "book.txt"}
    {"question": "When does it end?", "answers": ["2031"], "context": "The lease ends in 2031.", "metric": "em"}

A file is read as a stream, packed by gzip or not. The schema is in docs/problems.md. This does not know the
official formats (`records.py`).
"""

from __future__ import annotations

import dataclasses
import difflib
import gzip
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from memagent.atomic import replacing
from memagent.errors import DocumentError, InputError
from memagent.scoring import METRICS
from memagent.tasks.problem import Problem

DEFAULT_METRIC, DEFAULT_TASK = "em", "problems"
_PACKED = b"\x1f\x8b"  # how gzip begins
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_HALF_PAIR_MESSAGE = "holds half of a surrogate pair, which is no text"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a line, counted from 1; `field` is "" where it is the line as a whole."""

    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {self.field + ': ' if self.field else ''}{self.message}"


def read(path: Path) -> list[Problem]:
    """The problems of a file; documents lie relative to it.

    Raises:
        DocumentError: it cannot be read.
        InputError: a line is at fault; names the first, and how many more there are.
    """
    problems: list[Problem] = []
    faults: list[Fault] = []
    for _, found in _checked(path):
        if isinstance(found, Fault):
            faults.append(found)
        else:
            problems.append(found)
    if faults:
        more = f" (and {len(faults) - 1} more; memagent data validate {path} lists them)" if len(faults) > 1 else ""
        raise InputError(f"{path}:{faults[0]}{more}")
    return problems


def stream(path: Path) -> Iterator[Problem]:
    """Like `read`, with one problem in memory at a time; ends at the first fault.

    Raises:
        DocumentError, InputError: as `read`.
    """
    for _, problem in numbered(path):
        yield problem


def numbered(path: Path) -> Iterator[tuple[int, Problem]]:
    """Like `stream`, each problem with its line, counted from 1.

    Raises:
        DocumentError, InputError: as `read`.
    """
    for number, found in _checked(path):
        if isinstance(found, Fault):
            raise InputError(f"{path}:{found}")
        yield number, found


def validate(path: Path) -> list[Fault]:
    """All that is wrong with a file, in the order of its lines.

    Raises:
        DocumentError: it cannot be read.
    """
    return [found for _, found in _checked(path) if isinstance(found, Fault)]


def write(path: Path, problems: Iterable[Problem]) -> int:
    """Write problems, all their fields that say something; how many there were.

    Paths of documents are written relative to the file. What stood there before stays until the end.

    Raises:
        InputError: a problem holds what is no text.
    """
    count = 0
    with replacing(path) as part, part.open("wb") as raw, _packing(raw, path) as file:
        for problem in problems:
            file.write(_line(problem, path.parent))
            count += 1
    return count


def _record(problem: Problem, folder: Path) -> dict[str, Any]:
    """A problem in the schema, for a file in `folder`; empty fields are left out."""
    plain = {one.name: getattr(problem, one.name) for one in dataclasses.fields(problem) if one.name != "files"}
    record = {name: value for name, value in plain.items() if value not in ("", (), None, {})}
    if problem.notes:
        record["notes"] = dict(problem.notes)
    if problem.files:
        record["document"] = [os.path.relpath(file, folder) for file in problem.files]
    return record


def _line(problem: Problem, folder: Path) -> bytes:
    try:
        return (json.dumps(_record(problem, folder), ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the problem {problem.id!r} {_HALF_PAIR_MESSAGE}") from error


def _packing(raw: BinaryIO, path: Path) -> BinaryIO:
    """Packs where the name says so, without name and time, so that the same problems give the same file."""
    if path.suffix != ".gz":
        return raw
    return cast(BinaryIO, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))


def _checked(path: Path) -> Iterator[tuple[int, Problem | Fault]]:
    """For each line, by its number, its problem or all that is wrong with it."""
    seen: dict[str, int] = {}
    number = 0
    for number, data in _lines(path):
        try:
            record = _parsed(data)
        except ValueError as error:
            yield number, Fault(number, "", str(error))
            continue
        name = record.setdefault("id", f"{path.name.partition('.')[0]}-{number}")
        faults = [Fault(number, field, message) for field, message in _faults(record, path.parent)]
        if isinstance(name, str) and seen.setdefault(name, number) != number:
            faults.append(Fault(number, "id", f"{name!r} stands in line {seen[name]} already"))
        if faults:
            yield from ((number, fault) for fault in faults)
        else:
            yield number, _problem(record, path.parent)
    if not number:
        yield 1, Fault(1, "", "the file is empty")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by their number. Only newlines part them."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_PACKED)) == _PACKED
            raw.seek(0)
            with io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw as file:
                for number, data in enumerate(file, start=1):
                    if data.strip():
                        yield number, data
    except (OSError, EOFError, zlib.error) as error:
        raise DocumentError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _parsed(data: bytes) -> dict[str, Any]:
    """The object in a line.

    Raises:
        ValueError: it is none; says in a few words why.
    """
    try:
        record = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object_of, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: {error.reason} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError(f"must be an object, not {_shown(record)}")
    return record


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"says {names.most_common(1)[0][0]!r} twice")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"is no JSON: {name} is no number")


def _problem(record: Mapping[str, Any], folder: Path) -> Problem:
    given = {field: tuple(value) if isinstance(value, list) else value for field, value in record.items()}
    given.pop("document", None)
    files = tuple(os.path.normpath(folder / one) for one in _documents(record))
    fields: dict[str, Any] = {"task": DEFAULT_TASK, "metric": DEFAULT_METRIC, **given, "files": files}
    return Problem(**fields)


def _documents(record: Mapping[str, Any]) -> list[str]:
    given = record.get("document", [])
    return [given] if isinstance(given, str) else list(given)


def _faults(record: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Field and message of all that is wrong with a record."""
    for name, value in record.items():
        if name not in _FIELDS:
            yield name, f"is no field{_near(name, _FIELDS)}"
        elif message := _FIELDS[name](value):
            yield name, message
    for name in ("question", "answers"):
        if name not in record:
            yield name, "is missing"
    if ("context" in record) == ("document" in record):
        stands = "is there beside document" if "context" in record else "is missing, and document too"
        yield "context", f"{stands}: give one of them"
    if "document" in record and not _one_or_more(record["document"]):
        missing = (path for path in _documents(record) if not _is_there(folder / path))
        yield from (("document", f"there is no file {folder / path}") for path in missing)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(known)}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return f"must be a string, not {_shown(value)}"
    return _HALF_PAIR_MESSAGE if _HALF_PAIR.search(value) else ""


def _full_text(value: Any) -> str:
    return _text(value) or ("" if value.strip() else "is empty")


def _strings(value: Any) -> str:
    if isinstance(value, str):
        return f"must be a list of strings: write [{_shown(value)}]"
    if not isinstance(value, list):
        return f"must be a list of strings, not {_shown(value)}"
    return next((f"entry {at} {fault}" for at, one in enumerate(value, start=1) if (fault := _full_text(one))), "")


def _full_strings(value: Any) -> str:
    return "is an empty list" if value == [] else _strings(value)


def _one_or_more(value: Any) -> str:
    return _full_text(value) if isinstance(value, str) else _full_strings(value)


def _whole(value: Any) -> str:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return "" if is_whole else f"must be a whole number above 0, not {_shown(value)}"


def _metric(value: Any) -> str:
    """A function of a user's own is not for files: whoever made the file would say what code runs."""
    if fault := _full_text(value):
        return fault
    if ":" in value:
        return "must be the name of a metric: functions of one's own are for the command line's --metric"
    return "" if value in METRICS else f"there is no metric {value!r}{_near(value, METRICS)}"


def _object(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be an object, not {_shown(value)}"
    return _HALF_PAIR_MESSAGE if _HALF_PAIR.search(json.dumps(value, ensure_ascii=False)) else ""


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _or_null(check: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None else check(value)


# Each field with what says in a few words why a value is wrong ("" where it is right).
_FIELDS: Mapping[str, Callable[[Any], str]] = {
    "question": _full_text,
    "answers": _full_strings,
    "context": _full_text,
    "document": _one_or_more,
    "id": _full_text,
    "task": _full_text,
    "metric": _metric,
    "max_tokens": _whole,
    "head": _text,
    "tail": _text,
    "answer_prefix": _text,
    "length": _or_null(_whole),
    "tokenizer": _or_null(_text),
    "facts": _strings,
    "notes": _object,
}
