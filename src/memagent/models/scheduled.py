"""A gate fixed by a seeded schedule, around a real model whose own gate is untrained: for benchmarks.

The model does the work of each turn (one token for a keep, a whole reply for a change), and the
schedule decides which of the two it is. What such a reading remembers means nothing.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

from memagent.models.base import Completion, Model, Price, Prompt, Request
from memagent.models.scripted import tagged
from memagent.tokens import Tokenizer


def changes(section: str, rate: float, seed: int) -> bool:
    """Whether the memory changes at `section`: for a share `rate` of sections, the same in every run."""
    return zlib.crc32(section.encode("utf-8", "surrogatepass"), seed) / 2**32 < rate


class ScheduledGate:
    """`model`, but for turns with a one-token reply the memory changes at a share `rate` of chunks.

    `prefix` stands before a changed memory so that the protocol can read it.
    """

    def __init__(self, model: Model, *, rate: float, seed: int = 0, prefix: str = "Write: ") -> None:
        self.name: str = model.name
        self.window: int = model.window
        self.tokenizer: Tokenizer = model.tokenizer
        self.special_tokens: tuple[str, ...] = model.special_tokens
        self.suggests: Mapping[str, str | float] = model.suggests
        self.price: Price | None = model.price
        self._model, self._rate, self._seed, self._prefix = model, rate, seed, prefix

    @property
    def notes(self) -> tuple[str, ...]:
        """The model's, and that its gate is not its own."""
        where = f"the memory changes at {self._rate:.0%} of chunks"
        return (*self._model.notes, f"the gate is fixed by a schedule (seed {self._seed}): {where}")

    @property
    def identity(self) -> dict[str, str]:
        """The model's and the schedule's."""
        return {**self._model.identity, "schedule": f"{self._rate}/{self._seed}"}

    def prompt_tokens(self, prompt: Prompt) -> int:
        """The model's."""
        return self._model.prompt_tokens(prompt)

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`; turns without a section or without a one-token reply go straight through."""
        section = tagged(request.prompt.text, "section")
        if section is None or request.one_token is None:
            return await self._model.generate(request)
        if not changes(section, self._rate, self._seed):
            one = dataclasses.replace(request, max_tokens=1, thinking_tokens=0, one_token=None)
            return dataclasses.replace(await self._model.generate(one), text=request.one_token, finish="stop")
        whole = await self._model.generate(dataclasses.replace(request, one_token=None))
        return dataclasses.replace(whole, text=self._prefix + whole.text)

    async def disconnect(self) -> None:
        """The model's."""
        await self._model.disconnect()

    async def aclose(self) -> None:
        """Closes the model."""
        await self._model.aclose()
