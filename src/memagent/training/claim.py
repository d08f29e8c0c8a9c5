"""A training run's folder: whose it is, that one process works in it, and that a run which never began leaves nothing.

It does not know what a run does.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from memagent.errors import InputError
from memagent.locks import LOCK, alone
from memagent.training.folders import write_file
from memagent.training.recipe import Recipe

RECIPE, CHECKPOINTS = "recipe.toml", "checkpoints"


@contextlib.contextmanager
def claimed(recipe: Recipe, folder: Path, *, resume: bool) -> Iterator[None]:
    """The folder as the recipe's, for this process alone.

    Where the block ends before there is a checkpoint, a folder that was new or empty is gone again, so that the same
    command works once what was wrong is mended.

    Raises:
        InputError: as `claim`.
        JournalError: another process is at work in it.
    """
    _refuse(recipe, folder, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        begun = (folder / RECIPE).exists()
        claim(recipe, folder, resume=resume)
        try:
            yield
        finally:
            if not begun and not any((folder / CHECKPOINTS).glob("*")):
                shutil.rmtree(folder, ignore_errors=True)


def claim(recipe: Recipe, folder: Path, *, resume: bool) -> None:
    """Make the folder the recipe's, or see that it is.

    Raises:
        InputError: it holds another run, or one that was not asked to go on.
    """
    _refuse(recipe, folder, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / RECIPE, recipe.text(), hint="free some space")


def _refuse(recipe: Recipe, folder: Path, *, resume: bool) -> None:
    kept = folder / RECIPE
    if kept.exists():
        if not resume:
            raise InputError(f"{folder} holds a run already: go on with --resume, or name another folder")
        if (name := recipe.difference(Recipe.read(kept))) is not None:
            raise InputError(f"{folder} holds a run with another {name}: name another folder")
    elif folder.exists() and (not folder.is_dir() or any(one.name != LOCK for one in folder.iterdir())):
        raise InputError(f"{folder} is not empty and holds no run: name another folder")
