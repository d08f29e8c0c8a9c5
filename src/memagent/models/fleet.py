"""Several endpoints of one model as one `Model`: calls go where there is room, and move off an endpoint that fails.

Which endpoint is next is `endpoint/spread.py`'s business, what a failure means `openai.py`'s. Greedy readings come out
the same whichever endpoint answers, as far as the servers compute alike. It knows no documents and no memories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from memagent.errors import MemagentError, OptionError
from memagent.models.base import NOT_STARTED, Completion, Price, Prompt, Request
from memagent.models.endpoint.failures import Failure
from memagent.models.endpoint.spread import Place, Spread
from memagent.models.openai import LONGEST_WAIT, WORTH_ANOTHER_TRY, OpenAIModel, pause
from memagent.tokens import Tokenizer

# A server that was started anew with another key or model is put right by its owner, not by trying often.
_OF_THE_ENDPOINT = ("denied", "missing", "quota")


class Fleet:
    """`members`, alike but for their addresses, each with `concurrency` places and `retries` tries of a call.

    Raises:
        OptionError: there are no members.
    """

    special_tokens: tuple[str, ...] = ()

    def __init__(self, members: Sequence[OpenAIModel], *, concurrency: int = 8, retries: int = 5) -> None:
        if not members:
            raise OptionError("a fleet needs an endpoint")
        first = members[0]
        self.name, self.window = first.name, first.window
        self.tokenizer: Tokenizer = first.tokenizer
        self.price: Price | None = first.price
        # Where calls cost nothing, a document's own chunks fill all places.
        ahead = {} if self.price else {"read_ahead": concurrency * len(members)}
        self.suggests: Mapping[str, str | float] = ahead
        self._members = tuple(members)
        self._spread = Spread(self._members, most=concurrency)
        self._tries = (retries + 1) * len(members)
        self._absent: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Model.notes`: the members', which were not there at first, and how many calls others had to take."""
        lines = dict.fromkeys(note for member in self._members for note in member.notes)
        lost = [
            f"{place.one.host} failed {place.lost} calls: others took them"
            for place in self._spread.places
            if place.lost
        ]
        return (*lines, *self._absent, *lost)

    @property
    def identity(self) -> dict[str, str]:
        """A member's: readings move between one endpoint and many."""
        return self._members[0].identity

    def prompt_tokens(self, prompt: Prompt) -> int:
        """See `Model.prompt_tokens`."""
        return self._members[0].prompt_tokens(prompt)

    async def prepare(self) -> None:
        """Ask all for their models and windows; the smallest window is the fleet's.

        Raises:
            MemagentError: as `OpenAIModel.prepare`, where none is there.
        """
        found = await asyncio.gather(*(member.prepare() for member in self._members), return_exceptions=True)
        errors = [error for error in found if error is not None]
        wrong = next((error for error in errors if not isinstance(error, MemagentError)), None)
        if wrong is not None or len(errors) == len(self._members):
            raise wrong or errors[0]
        self._absent = [f"{error}; the others read without it" for error in errors]
        self.window = min(member.window for member, error in zip(self._members, found, strict=True) if error is None)

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`; another endpoint takes a call that one fails.

        Raises:
            MemagentError: as `OpenAIModel.generate`, once all endpoints failed as often as one may.
        """
        failures, unfit = 0, set()
        while True:
            try:
                place = await self._spread.take()
            except asyncio.CancelledError:
                raise asyncio.CancelledError(NOT_STARTED) from None
            try:
                completion = await place.one.attempt(request)
                self._spread.answered(place)
                return completion
            except Failure as failure:
                failures += 1
                if failure.kind in _OF_THE_ENDPOINT:
                    unfit.add(place.one)
                elif failure.kind not in WORTH_ANOTHER_TRY:
                    raise await place.one.told(failure, failures) from None
                if failures >= self._tries or len(unfit) == len(self._members):
                    raise await self._told(place, failure, failures) from None
                self._rest(place, failure)
            finally:
                self._spread.release(place)

    def _rest(self, place: Place[OpenAIModel], failure: Failure) -> None:
        lasting = failure.kind in _OF_THE_ENDPOINT
        self._spread.failed(place, LONGEST_WAIT if lasting else pause(place.failures + 1, failure.retry_after))

    async def _told(self, place: Place[OpenAIModel], failure: Failure, failures: int) -> MemagentError:
        place.one.answered |= any(member.answered for member in self._members)
        return await place.one.told(failure, failures)

    async def disconnect(self) -> None:
        """Close all connections of the running event loop."""
        await asyncio.gather(*(member.disconnect() for member in self._members))

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(member.aclose() for member in self._members))
