"""Which of several endpoints takes the next call: the one with the fewest, of those that have room and do not rest.

An endpoint that fails rests, and is tried again with one call alone before it takes its share. It does not know what
calls are.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Place(Generic[T]):
    """One endpoint: its calls under way, how often it failed in a row, and until when (monotonic seconds) it rests."""

    one: T
    busy: int = 0
    failures: int = 0
    rests_until: float = 0.0
    lost: int = 0

    def has_room(self, most: int, now: float) -> bool:
        """Whether it may take a call; one that has failed is tried with one alone."""
        return now >= self.rests_until and self.busy < (1 if self.failures else most)


class Spread(Generic[T]):
    """Calls spread over `ones`, at most `most` at each; the others wait in the order they came."""

    def __init__(self, ones: Sequence[T], *, most: int) -> None:
        self.places = tuple(Place(one) for one in ones)
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, without: Collection[T] = ()) -> Place[T]:
        """The endpoint for one call, none of `without`, as soon as there is one: `release` it when the call ends."""
        while (place := self._best(without)) is None:
            await self._news()
        place.busy += 1
        return place

    def take_now(self) -> Place[T]:
        """As `take` without waiting: where none is ready, the one that has rested longest."""
        place = self._best() or min(self.places, key=lambda place: (place.rests_until, place.busy))
        place.busy += 1
        return place

    def release(self, place: Place[T]) -> None:
        """The call has ended."""
        place.busy -= 1
        self._wake()

    def answered(self, place: Place[T]) -> None:
        """It answers: it takes its share again."""
        place.failures = 0
        self._wake()

    def place(self, one: T) -> Place[T]:
        """That of an endpoint."""
        return next(place for place in self.places if place.one is one)

    def failed(self, place: Place[T], rest: float) -> None:
        """It does not answer, and rests for so many seconds; calls that fail together count once."""
        place.lost += 1
        now = time.monotonic()
        if now >= place.rests_until:
            place.failures += 1
            place.rests_until = now + rest

    def _best(self, without: Collection[T] = ()) -> Place[T] | None:
        now = time.monotonic()
        ready = [place for place in self.places if place.one not in without and place.has_room(self._most, now)]
        return min(ready, key=lambda place: place.busy, default=None)

    async def _news(self) -> None:
        """Wait until a call ends or an endpoint has rested."""
        now = time.monotonic()
        soonest = min((place.rests_until for place in self.places if place.rests_until > now), default=None)
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(waiter, None if soonest is None else soonest - now)
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def _wake(self) -> None:
        """All that wait look again, in the order they came: not every one may take every place."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
