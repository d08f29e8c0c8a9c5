"""Who may come in, and when: keys, a bounded queue, so many at once for each key.

It does not know what is done inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from memagent.serving.errors import ApiError, busy

ANYONE = "anyone"
_FIRST_GUESS = 10.0  # seconds that a reading takes, until one has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`keys` are accepted as bearer tokens (none: everybody comes in). `at_once` readings run together, `queue` more
    may wait, and one key may have `per_key` of both. A body may have `body_mib`, uploaded files together
    `files_mib`."""

    keys: tuple[str, ...] = ()
    at_once: int = 8
    queue: int = 64
    per_key: int = 64
    body_mib: int = 64
    files_mib: int = 4096


class Admission:
    """The door. `running` and `waiting` are how many are inside and before it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running = self.waiting = 0
        self._places = asyncio.Semaphore(limits.at_once)
        self._of_key: Counter[str] = Counter()
        self._seconds = _FIRST_GUESS

    def who(self, authorization: str | None) -> str:
        """The owner that a request's Authorization header names: a word of letters and digits, never the key.

        Raises:
            ApiError: 401, where keys are asked for and none of them was given.
        """
        if not self.limits.keys:
            return ANYONE
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not _is_one_of(given.strip(), self.limits.keys):
            message = "no valid key: send Authorization: Bearer KEY" if not given else "this key is not valid"
            raise ApiError(
                401, message, "authentication_error", "invalid_api_key", headers={"WWW-Authenticate": "Bearer"}
            )
        return hashlib.sha256(given.strip().encode("utf-8", "replace")).hexdigest()[:16]

    @contextlib.contextmanager
    def passing(self, owner: str) -> Iterator[None]:
        """Room for a chat that goes straight through: it waits for nobody, but counts for its key.

        Raises:
            ApiError: 429, where the owner has too many.
        """
        self._has_room(owner)
        self._of_key[owner] += 1
        try:
            yield
        finally:
            self._of_key[owner] -= 1

    def _has_room(self, owner: str) -> None:
        if self._of_key[owner] >= self.limits.per_key:
            raise busy(f"this key has {self.limits.per_key} requests running or waiting already", self._seconds)

    @contextlib.asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """A place for one reading, waited for in order.

        Raises:
            ApiError: 429, where the queue is full or the owner has too many.
        """
        self._has_room(owner)
        if self._places.locked() and self.waiting >= self.limits.queue:
            turns = (self.waiting + 1) / self.limits.at_once
            raise busy(f"{self.running} readings run and {self.waiting} wait: come back later", self._seconds * turns)
        self._of_key[owner] += 1
        try:
            await self._enter()
            began = time.monotonic()
            try:
                yield
            finally:
                self._places.release()
                self.running -= 1
                self._seconds += 0.2 * (time.monotonic() - began - self._seconds)
        finally:
            self._of_key[owner] -= 1

    async def _enter(self) -> None:
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1


def _is_one_of(given: str, keys: Sequence[str]) -> bool:
    """All keys are compared, each in constant time."""
    same = [hmac.compare_digest(given.encode("utf-8", "replace"), key.encode("utf-8")) for key in keys]
    return any(same)
