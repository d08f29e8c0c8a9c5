"""One process at a time in a folder. It knows nothing of what is done there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from memagent.errors import JournalError

LOCK = ".lock"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While the block runs no other process can enter one for the same folder; its lock file stays behind.

    Raises:
        JournalError: another process is in.
    """
    held = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        held.acquire()
    except filelock.Timeout:
        raise JournalError(f"another process is at work in {folder}: wait for it") from None
    try:
        yield
    finally:
        held.release()
