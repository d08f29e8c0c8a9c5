"""TOML files as dataclasses: what a file may hold is what the dataclass says, and faults name their field.

It does not know what recipes are for.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from memagent.errors import InputError
from memagent.extras import extra

Record = TypeVar("Record")


def toml() -> Any:
    """The module that reads TOML: the standard library's, or its twin for Python 3.10."""
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    with extra("eval", "reading a recipe"):
        import tomli
    return tomli


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    try:
        found: dict[str, Any] = toml().loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    return found


def typed(kind: type[Record], record: Mapping[str, Any], where: str) -> Record:
    """`record` as the dataclass `kind`; tables are dataclasses in turn, and lists tuples.

    Raises:
        InputError: a field that `kind` does not have, or a value of another type; names the field.
    """
    from pydantic import TypeAdapter, ValidationError

    unknown = next(_unknown(kind, record), None)
    if unknown is not None:
        raise InputError(f"{where}: {unknown}")
    try:
        return TypeAdapter(kind).validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _unknown(kind: Any, record: Any, place: str = "") -> Iterator[str]:
    """What is named in `record` and its tables that their dataclasses do not have."""
    if isinstance(record, list | tuple):
        inner = next(iter(get_args(kind)), None)
        for number, one in enumerate(record):
            yield from _unknown(inner, one, f"{place}{number}.")
    if not dataclasses.is_dataclass(kind) or not isinstance(record, Mapping):
        return
    hints = get_type_hints(kind)
    for name, value in record.items():
        if name in hints:
            yield from _unknown(hints[name], value, f"{place}{name}.")
            continue
        near = difflib.get_close_matches(name, hints, 1)
        yield f"there is no field {place}{name}" + (f": did you mean {near[0]}?" if near else f": {', '.join(hints)}")


def write_toml(record: Mapping[str, Any]) -> str:
    """Plain values as TOML, without a None, as TOML has none."""
    with extra("eval", "writing a recipe"):
        import tomli_w
    return tomli_w.dumps(_without_none(record))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_without_none(one) for one in value]
    return value
