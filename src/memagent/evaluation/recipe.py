"""What an evaluation runs, pinned in `recipe.toml`: suite, lengths, models, methods, decoding and seeds.

A recipe that was written can be run again, and a folder is resumed only with the recipe it began with.
It does not know how problems are made or solved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memagent import __version__
from memagent.errors import OptionError
from memagent.models import ModelOptions
from memagent.reading import Settings
from memagent.recipes import read_toml, typed, write_toml

HAYSTACK = "report"  # where none is named

# What may differ when a run goes on: how calls are made, not what is asked.
_FREE = {"base_url", "concurrency", "timeout", "retries", "price"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One evaluation.

    `suite` is a name that `suites` knows or a file of problems. `lengths` are tokens, `documents` counts of
    documents (question suites only). `sources` names the files that hold a dataset; `samples` how many problems
    each task has at each length. `methods` are protocols and baselines, the first the one that others are compared
    with; each runs on each of `models`. `at_once` problems are worked on together.
    """

    suite: str
    tasks: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    documents: tuple[int, ...] = ()
    samples: int = 16
    seed: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    paragraphs: str | None = None
    split: str | None = None
    haystack: str = HAYSTACK
    metric: str | None = None
    methods: tuple[str, ...] = ("reading",)
    models: tuple[ModelOptions, ...] = (ModelOptions(),)
    reading: Settings = field(default_factory=Settings)
    at_once: int = 8
    version: str = __version__

    def check(self) -> None:
        """Raise OptionError where a number or a list makes no sense by itself."""
        if not self.methods or not self.models:
            raise OptionError("there is no method or no model to evaluate")
        if self.samples < 1:
            raise OptionError(f"--limit must be at least 1, not {self.samples}")
        if self.at_once < 1:
            raise OptionError(f"--at-once must be at least 1, not {self.at_once}")
        if self.lengths and self.documents:
            raise OptionError("give --lengths or --documents, not both")
        for name, values in (("--lengths", self.lengths), ("--documents", self.documents)):
            if any(value < 1 for value in values):
                raise OptionError(f"{name} must be at least 1 each")
        for name, names in (("method", self.methods), ("task", self.tasks), ("length", self.lengths + self.documents)):
            if len(set(names)) < len(names):
                raise OptionError(f"a {name} is named twice")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without what a URL may hide."""
        plain = dataclasses.asdict(self)
        plain["models"] = [model.as_json() for model in self.models]
        return {"version": plain.pop("version"), **plain}

    def text(self) -> str:
        """The recipe as TOML."""
        return write_toml(self.as_dict())

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """The recipe in a TOML file.

        Raises:
            InputError: it cannot be read, or has a field or a value that no recipe has.
        """
        return typed(cls, read_toml(path), str(path))

    def difference(self, other: Recipe) -> str | None:
        """The first field in which the two would not be the same run; None where they would."""
        first, second = self._bound(), other._bound()
        return next((name for name in first if first[name] != second[name]), None)

    def _bound(self) -> dict[str, Any]:
        plain = dataclasses.asdict(self)
        del plain["at_once"], plain["version"]
        plain["models"] = [_without(model.as_json(), _FREE) for model in self.models]
        return plain


def _without(record: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
