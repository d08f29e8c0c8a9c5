"""Digests of the files that problems are made from: a run must not go on with others, or results would be mixed.

It does not know what stands in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from memagent.errors import InputError
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.suites import NAMES, Suite

HAYSTACKS = ("report", "train")  # that are no files
BLOCK = 1 << 20  # bytes that are read at once


def digests(recipe: Recipe, suite: Suite, output: Path) -> dict[str, str]:
    """The SHA-256 of each file and folder that `recipe` names, and of the documents that its problems name.

    Of folders, what is hidden and what lies in `output` does not count.

    Raises:
        InputError: one cannot be read.
    """
    named = [*recipe.sources.values(), recipe.paragraphs or ""]
    named += [recipe.haystack] if recipe.haystack not in HAYSTACKS else []
    if recipe.suite not in NAMES:
        named += [recipe.suite, *sorted(set(_documents(suite)))]
    paths = [name for name in dict.fromkeys(named) if name and Path(name).exists()]
    try:
        return {name: _digest(Path(name), output.resolve()) for name in paths}
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


def _documents(suite: Suite) -> Iterator[str]:
    for cell in suite.cells:
        for index in range(cell.count):
            yield from cell.build(index).files


def _digest(path: Path, output: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(path, output) if path.is_dir() else [path]:
        digest.update(f"{file.relative_to(path)}\n{file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        with file.open("rb") as opened:
            while block := opened.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _files(folder: Path, output: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and output not in path.resolve().parents)
    return sorted(path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts))
