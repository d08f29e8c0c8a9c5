"""Lock files: one process at a time. They know nothing of what is done meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from memagent.errors import JournalError

LOCK = ".lock"


@contextlib.contextmanager
def held(path: Path, *, busy: str, name: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; the system lets go of it even after kill -9.

    Raises:
        JournalError: another process holds it, which `busy` tells, or `name` cannot be locked.
    """
    lock = filelock.FileLock(path, timeout=0)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise JournalError(busy) from None
    except OSError as error:
        raise JournalError(f"cannot lock {name}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()  # the file stays: whoever waits for it must not be left with a deleted one


def alone(folder: Path) -> contextlib.AbstractContextManager[None]:
    """While the block runs no other process can enter one for the same folder.

    Raises:
        JournalError: another process is in, or the folder cannot be written.
    """
    return held(folder / LOCK, busy=f"another process is at work in {folder}: wait for it", name=str(folder))
