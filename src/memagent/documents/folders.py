"""The files of a folder in order, without those that .gitignore names. It does not read documents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from memagent.documents.base import Skipped
from memagent.documents.text import why


@dataclass(frozen=True, slots=True)
class _Rules:
    """A .gitignore file and the folder that it stands in."""

    folder: Path
    spec: GitIgnoreSpec


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is still to be listed, and the rules of those above it."""

    path: Path
    above: list[_Rules]


def walk(folder: Path) -> Iterator[Path | Skipped]:
    """The files below `folder`, sorted by the parts of their paths; what cannot be one comes as `Skipped`.

    .gitignore files count from the top of the repository that holds `folder` (or from `folder` itself)
    down, and the nearest one that names a file decides, as in git. `.git` is never entered, and links to
    folders are not followed.

    Raises:
        OSError: `folder` itself cannot be listed.
    """
    top = folder.resolve()
    os.scandir(top).close()  # fails here rather than as a skipped folder
    rules: list[_Rules] = []
    for parent in reversed(_parents_in_repository(top)):
        rules += _rules_of(parent)
    yield from _walk(top, rules)


def _walk(top: Path, above: list[_Rules]) -> Iterator[Path | Skipped]:
    """Depth first, without recursion: folders may be nested deeper than Python's stack."""
    open_folders = [_listed(top, top, above)]
    while open_folders:
        found = next(open_folders[-1], None)
        if found is None:
            open_folders.pop()
        elif isinstance(found, _Folder):
            open_folders.append(_listed(found.path, top, found.above))
        else:
            yield found


def _listed(folder: Path, top: Path, above: list[_Rules]) -> Iterator[Path | Skipped | _Folder]:
    """What stands in one folder, in order; the folders in it are not entered."""
    rules = [*above, *_rules_of(folder)]
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(relative(folder, top) + "/", why(error))
        return
    for entry in entries:
        path = folder / entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name == ".git" or _ignored(path, is_folder, rules):
            continue
        yield _Folder(path, rules) if is_folder else _file(path, top)


def _file(path: Path, top: Path) -> Path | Skipped:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Skipped(relative(path, top), "a link that leads nowhere" if path.is_symlink() else why(error))
    if stat.S_ISDIR(mode):
        return Skipped(relative(path, top), "a link to a folder, which is not followed")
    if not stat.S_ISREG(mode):
        return Skipped(relative(path, top), "not a regular file")
    return path


def _ignored(path: Path, is_folder: bool, rules: list[_Rules]) -> bool:
    for rule in reversed(rules):
        relative_path = path.relative_to(rule.folder).as_posix() + ("/" if is_folder else "")
        include = rule.spec.check_file(relative_path).include
        if include is not None:
            return include
    return False


def _rules_of(folder: Path) -> list[_Rules]:
    path = folder / ".gitignore"
    try:
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [_Rules(folder, GitIgnoreSpec.from_lines(_usable(lines)))]


def _usable(lines: list[str]) -> Iterator[str]:
    """The lines that are patterns; git passes over malformed ones."""
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        yield line


def _parents_in_repository(folder: Path) -> list[Path]:
    """The folders above `folder` up to the top of its repository, nearest first; none outside one."""
    if (folder / ".git").exists():
        return []
    for depth, parent in enumerate(folder.parents, start=1):
        if (parent / ".git").exists():
            return list(folder.parents[:depth])
    return []


def relative(path: Path, top: Path) -> str:
    """`path` below `top` with forward slashes, fit to be shown."""
    return shown(path.relative_to(top).as_posix())


def shown(name: str) -> str:
    """A file name fit for a line of text: no control characters, no bytes outside UTF-8."""
    clean = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in clean)
