"""What a reading asks and is told: a plan's prompts for one problem, with all that the document says kept data.

It does not know who is asked, nor what becomes of an update or an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from memagent.models.base import Request, Sampling
from memagent.reading.guard import Guard
from memagent.reading.protocols import Update, parse_answer
from memagent.reading.quotes import mended
from memagent.reading.settings import Plan


class Requests:
    """Requests for `problem` as `plan` words them; `special_tokens` are the model's."""

    def __init__(self, problem: str, plan: Plan, special_tokens: Sequence[str] = ()) -> None:
        self.wording = plan.wording()
        self._guard = Guard(special_tokens)
        self._plan = plan
        self._problem = self._guard.neutralise(problem.strip())[0]

    def update(self, text: str, memory: str, *, turn: int) -> tuple[Request, int]:
        """What asks for an update of `memory` by `text` in turn `turn`, and how many tags of the text are disarmed."""
        guarded, tags = self._guard.neutralise(text)
        prompt = self.wording.update_prompt(self._problem, self._guard.neutralise(memory)[0], guarded)
        request = Request(
            prompt=prompt,
            max_tokens=self._plan.memory_tokens,
            thinking_tokens=self._plan.thinking_tokens,
            sampling=self._plan.sampling(turn),
            one_token=self.wording.one_token,
            logprobs=self._plan.gate > 0 or self._plan.sift > 0,
        )
        return request, tags

    def answer(self, memory: str, *, sampling: Sampling, max_tokens: int | None = None) -> Request:
        """What asks for the answer from `memory`, of as many tokens as the plan allows if `max_tokens` is None."""
        return Request(
            prompt=self.wording.answer_prompt(self._problem, self._guard.neutralise(memory)[0]),
            max_tokens=max_tokens or self._plan.answer_tokens,
            thinking_tokens=self._plan.thinking_tokens,
            sampling=sampling,
        )

    def told(self, reply: str) -> Update:
        """What a reply to `update` does to the memory."""
        return self.wording.parse_update(self._guard.restore(reply))

    def answered(self, reply: str, memory: str) -> tuple[str, str]:
        """A reply to `answer` from `memory` in the document's own words, and the part of it that counts."""
        whole = self._guard.restore(reply)
        if self._plan.verbatim:
            whole = mended(whole, memory)
        return whole, parse_answer(whole, self._plan.answer_form)
