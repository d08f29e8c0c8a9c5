"""One model call of a reading: from the journal if it was made before, else from the model.

Counts what is spent and stops before more than the allowed money could be. It does not know what is
asked, nor what becomes of the reply.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field, replace

from memagent.errors import BudgetSpent, TurnRefused, WindowOverflow
from memagent.models.base import NOT_STARTED, Completion, Model, Request
from memagent.reading.journal import Call, CallStatus, Journal
from memagent.reading.result import Usage

ATTEMPTS = 2  # how often what a model refuses is asked


def digest(text: str) -> str:
    """A short name for a memory or another text, by which calls are keyed."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(slots=True)
class Purse:
    """The money that the readings of one run may spend together; None is no bound.

    `paid` is what each reading has cost, over all its sessions, and `reserved` what the calls now
    running may cost at most.
    """

    limit: float | None
    paid: dict[str, float] = field(default_factory=dict)
    reserved: float = 0.0

    @property
    def spent(self) -> float:
        """What is paid in all."""
        return sum(self.paid.values())

    def affords(self, cost: float) -> bool:
        """Whether a call that may cost `cost` can be made now."""
        return self.limit is None or self.spent + self.reserved + cost <= self.limit


class Asker:
    """Makes the calls of one reading, journalled and counted.

    `replaying` tells that a resumed reading has not yet come to its first new call.
    """

    def __init__(self, model: Model, journal: Journal, reading_id: str, *, purse: Purse, seconds: float = 0.0) -> None:
        """Count on from what earlier sessions of this reading took, `seconds` among it."""
        self._model = model
        self._journal = journal
        self._reading = reading_id
        self._purse = purse
        self._started = time.monotonic()
        self._before = seconds
        spent = journal.spent(reading_id)
        self.usage = Usage(
            model_calls=int(spent["model_calls"]),
            prompt_tokens=int(spent["prompt_tokens"]),
            cached_tokens=int(spent["cached_tokens"]),
            completion_tokens=int(spent["completion_tokens"]),
            cost_usd=spent["cost_usd"],
        )
        self.replaying = self.usage.model_calls > 0
        purse.paid[reading_id] = self.usage.cost_usd

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of this reading so far, over all its sessions."""
        return self._before + time.monotonic() - self._started

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound that calls of this model can reach."""
        return self._purse.limit is not None and self._model.price is not None

    def can_afford(self, prompt_tokens: int, completion_tokens: int) -> bool:
        """Whether there is money for a call of that size beside those already running."""
        price = self._model.price
        return price is None or self._purse.affords(price.of(prompt_tokens, completion_tokens))

    async def ask(
        self, chunk: str, memory: str, request: Request, attempt: int = 0, *, replays_failures: bool = True
    ) -> Completion:
        """The completion of `request`, which shows chunk `chunk` with `memory`; attempts count from 0.

        Without `replays_failures` what was refused in an earlier session is asked again.

        Raises:
            TurnRefused, WindowOverflow: as the model said, now or when it was asked before.
            BudgetSpent: the call might cost more than what is left.
        """
        key = digest(memory)
        for call in self._journal.calls(self._reading, chunk, key):
            if not replays_failures and call.status != "done":
                continue
            if attempt == 0:
                return _replay(call)
            attempt -= 1
        self.replaying = False
        worst = self._worst_cost(request)
        if not self._purse.affords(worst):
            raise BudgetSpent(
                f"the next call may cost up to ${worst:.4f} and ${self._purse.spent:.4f} of the allowed "
                f"${self._purse.limit:.4f} are spent: resume with a higher --max-cost"
            )
        self._purse.reserved += worst
        try:
            return await self._call(chunk, key, request)
        finally:
            self._purse.reserved -= worst

    async def _call(self, chunk: str, memory: str, request: Request) -> Completion:
        began = time.monotonic()
        call = Call(chunk=chunk, memory=memory, attempt=self._journal.next_attempt(self._reading, chunk, memory))
        try:
            completion = await self._model.generate(request)
        except (TurnRefused, WindowOverflow) as error:
            status: CallStatus = "overflow" if isinstance(error, WindowOverflow) else "refused"
            self._note(replace(call, status=status, text=str(error)), began)
            raise
        except asyncio.CancelledError as error:
            if error.args != (NOT_STARTED,):
                self._note(self._cancelled(call, request), began)
            raise
        shared = {name: getattr(completion, name) for name in _SHARED}
        first = completion.logprobs[0] if completion.logprobs else None
        self._note(replace(call, **shared, logprob=first), began)
        return completion

    def _cancelled(self, call: Call, request: Request) -> Call:
        # What the server had generated by then is unknown: the money is counted as if it were all.
        tokens = self._model.tokenizer.count(request.prompt.text)
        most = request.max_tokens + request.thinking_tokens
        cost = self._model.price.of(tokens, most) if self._model.price else 0.0
        return replace(call, status="cancelled", prompt_tokens=tokens, cost_usd=cost)

    def _note(self, call: Call, began: float) -> None:
        call = replace(call, seconds=time.monotonic() - began)
        self._journal.record(self._reading, call, self.seconds)
        usage = self.usage
        usage.model_calls += 1
        usage.prompt_tokens += call.prompt_tokens
        usage.cached_tokens += call.cached_tokens
        usage.completion_tokens += call.completion_tokens
        usage.cost_usd += call.cost_usd
        self._purse.paid[self._reading] = usage.cost_usd

    def _worst_cost(self, request: Request) -> float:
        price = self._model.price
        if price is None or not self.is_bounded:
            return 0.0
        tokens = self._model.prompt_tokens(request.prompt)
        return price.of(tokens, request.max_tokens + request.thinking_tokens)


_SHARED = (
    "text", "finish", "thinking", "prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd",
)  # fmt: skip


def _replay(call: Call) -> Completion:
    if call.status == "refused":
        raise TurnRefused(call.text)
    if call.status == "overflow":
        raise WindowOverflow(call.text)
    logprobs = None if call.logprob is None else (call.logprob,)
    return Completion(**{name: getattr(call, name) for name in _SHARED}, logprobs=logprobs)
