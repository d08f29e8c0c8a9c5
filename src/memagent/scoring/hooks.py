"""A user's own metric, named as `package.module:function`. It does not know the metrics that are built in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

from memagent.errors import OptionError

Metric = Callable[[str, Sequence[str]], float]


@lru_cache(maxsize=64)
def hook(name: str) -> Metric:
    """The function that `name` says, checked each time that what it gives is a score.

    Its module may also lie in the current folder. A failure while scoring is raised as an OptionError too.

    Raises:
        OptionError: it cannot be imported, or is no function.
    """
    module, _, path = name.partition(":")
    try:
        with _current_folder_too():
            found = reduce(getattr, path.split("."), importlib.import_module(module))
    except (Exception, SystemExit) as error:
        raise OptionError(f"the metric {name} cannot be imported: {_said(error)}") from error
    if not callable(found):
        raise OptionError(f"the metric {name} is no function but of type {type(found).__name__}")

    def metric(reply: str, references: Sequence[str]) -> float:
        return _score(name, found, reply, references)

    return metric


def _score(name: str, function: Callable[..., Any], reply: str, references: Sequence[str]) -> float:
    try:
        given = function(reply, references)
        score = float(given)
    except (Exception, SystemExit) as error:
        raise OptionError(f"the metric {name} failed: {_said(error)}") from error
    if not 0.0 <= score <= 1.0:
        raise OptionError(f"the metric {name} gave {given!r}: a score is a number from 0 to 1")
    return score


@contextmanager
def _current_folder_too() -> Iterator[None]:
    """Behind all else, so that no file of the user's hides a library."""
    here = str(Path.cwd())
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
