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


class _Call:
    """One call on its way: what each member said to it so far.

    Members take turns, so that one that fails at once does not use up the tries of all.
    """

    def __init__(self, members: Sequence[OpenAIModel], tries: int) -> None:
        self._members, self._tries = members, tries
        self._times = dict.fromkeys(members, 0)
        self._unfit: set[OpenAIModel] = set()
        self.refusals: dict[OpenAIModel, Failure] = {}
        self._last: tuple[OpenAIModel, Failure] | None = None

    def spared(self) -> set[OpenAIModel]:
        """Who is not to be asked now: those that refused it or are unfit, and those that were asked more often."""
        out = {*self._unfit, *self.refusals}
        least = min((times for member, times in self._times.items() if member not in out), default=0)
        return {*out, *(member for member, times in self._times.items() if times > least)}

    def failed(self, member: OpenAIModel, failure: Failure) -> bool:
        """Note a failure; whether it is the call's."""
        self._times[member] += 1
        self._last = member, failure
        if failure.kind in _OF_THE_ENDPOINT:
            self._unfit.add(member)
        elif failure.kind not in WORTH_ANOTHER_TRY:
            self.refusals[member] = failure
        left = len(self._members) - len({*self._unfit, *self.refusals})
        return not left or len(self.refusals) > 1 or sum(self._times.values()) >= self._tries

    @property
    def verdict(self) -> tuple[OpenAIModel, Failure, int]:
        """Whose failure the call's is, what it said, and after how many tries; a refusal says most."""
        assert self._last is not None
        member, failure = next(iter(self.refusals.items()), self._last)
        return member, failure, sum(self._times.values())


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
        """See `Model.generate`; another endpoint takes a call that one fails, and has to agree where one refuses it.

        Raises:
            MemagentError: as `OpenAIModel.generate`, once all endpoints failed as often as one may, or two refuse it.
        """
        call = _Call(self._members, self._tries)
        while True:
            try:
                place = await self._spread.take(call.spared())
            except asyncio.CancelledError:
                raise asyncio.CancelledError(NOT_STARTED) from None
            try:
                completion = await place.one.attempt(request)
                self._answered(place, call)
                return completion
            except Failure as failure:
                if call.failed(place.one, failure) or (call.refusals and not self._others(call)):
                    raise await self._told(*call.verdict) from None
                if place.one not in call.refusals:
                    self._rest(place, failure)
            finally:
                self._spread.release(place)

    def _others(self, call: _Call) -> bool:
        """Whether there is one to ask for a second opinion, without waiting for those that are down."""
        spared = call.spared()
        return any(place.one not in spared and not place.failures for place in self._spread.places)

    def _answered(self, place: Place[OpenAIModel], call: _Call) -> None:
        """It takes its share again; what others refused, though it can be answered, was their own fault."""
        self._spread.answered(place)
        for member, failure in call.refusals.items():
            self._rest(self._spread.place(member), failure)

    def _rest(self, place: Place[OpenAIModel], failure: Failure) -> None:
        lasting = failure.kind in _OF_THE_ENDPOINT
        self._spread.failed(place, LONGEST_WAIT if lasting else pause(place.failures + 1, failure.retry_after))

    async def _told(self, member: OpenAIModel, failure: Failure, failures: int) -> MemagentError:
        member.answered |= any(one.answered for one in self._members)
        return await member.told(failure, failures)

    async def disconnect(self) -> None:
        """Close all connections of the running event loop."""
        await asyncio.gather(*(member.disconnect() for member in self._members))

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(member.aclose() for member in self._members))
