"""A deterministic fake model: for tests and benchmarks of everything around models.

A script, which is a function from a request to a reply, decides what it says; it can also fail, stall
and answer malformed. It knows prompts only by the tags that all protocols share.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from memagent.errors import MemagentError, WindowOverflow
from memagent.models.base import Completion, Price, Prompt, Request
from memagent.models.thinking import split_thinking
from memagent.tokens import Tokenizer

_WORDS = re.compile(r" ?(?:\w{1,8}|[^\w\s])|\s{1,8}")
_REMEMBERED_COUNTS = 256


class WordTokenizer:
    """Words of up to eight characters with the space before them, marks one by one, runs of white space."""

    name = "words"
    exact = True

    def ends(self, text: str) -> Sequence[int]:
        """See `Tokenizer.ends`."""
        return [match.end() for match in _WORDS.finditer(text)]

    def count(self, text: str) -> int:
        """See `Tokenizer.count`."""
        return len(_WORDS.findall(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a script may give in place of a text: wait, then fail with `error` or say `text`.

    The wait lasts `seconds` and then until `until` is set.
    """

    error: MemagentError | None = None
    seconds: float = 0.0
    until: asyncio.Event | None = None
    text: str = ""


Script = Callable[[Request], "str | Fault"]


class ScriptedModel:
    """Says what `script` says. `calls` counts its calls; `requests` keeps them unless `records` is off.

    Like a real model it stops at a request's `one_token` word and at its token budget, and keeps its thinking
    (`<think>…</think>`) apart. Log-probabilities are made up from token ids.
    """

    special_tokens: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        window: int = 8192,
        price: Price | None = None,
        suggests: Mapping[str, str | float] | None = None,
        records: bool = True,
    ) -> None:
        self.name = name
        self.window = window
        self.tokenizer: Tokenizer = WordTokenizer()
        self.suggests: Mapping[str, str | float] = suggests or {}
        self.price = price
        self.calls = 0
        self.requests: list[Request] = []
        self.in_flight = self.most_in_flight = 0
        self.closed = False
        self._script = script
        self._records = records
        self._counts: dict[int, int] = {}

    @classmethod
    def saying(cls, *replies: str | Fault, window: int = 8192) -> ScriptedModel:
        """Gives `replies` in turn, the last one for ever after."""
        left = list(replies)
        return cls(lambda request: left.pop(0) if len(left) > 1 else left[0], window=window)

    @classmethod
    def reader(cls, *keywords: str, window: int = 8192) -> ScriptedModel:
        """Remembers the lines that hold any of `keywords`, and answers with what it remembers."""
        return cls(lambda request: _read(request, keywords), window=window)

    @property
    def identity(self) -> dict[str, str]:
        """See `Model.identity`."""
        return {"kind": "scripted", "name": self.name, "tokenizer": self.tokenizer.name}

    def prompt_tokens(self, prompt: Prompt) -> int:
        """See `Model.prompt_tokens`; exact, segment by segment, as there is no chat template."""
        known = self._counts.get(hash(prompt))
        if known is None:
            if len(self._counts) >= _REMEMBERED_COUNTS:
                self._counts.clear()
            known = self._counts[hash(prompt)] = sum(map(self.tokenizer.count, prompt.segments))
        return known

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`."""
        self.calls += 1
        if self._records:
            self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self._completion(request, await self._reply(request))
        finally:
            self.in_flight -= 1

    async def disconnect(self) -> None:
        """Nothing here belongs to an event loop."""

    async def aclose(self) -> None:
        """Remembers that it was closed."""
        self.closed = True

    async def _reply(self, request: Request) -> str:
        said = self._script(request)
        fault = Fault(text=said) if isinstance(said, str) else said
        await asyncio.sleep(fault.seconds)
        if fault.until is not None:
            await fault.until.wait()
        if fault.error is not None:
            raise fault.error
        return fault.text

    def _completion(self, request: Request, said: str) -> Completion:
        prompt_tokens = self.prompt_tokens(request.prompt)
        budget = request.max_tokens + request.thinking_tokens
        if prompt_tokens + budget > self.window:
            raise WindowOverflow(f"{prompt_tokens} + {budget} tokens do not fit the window of {self.window}")
        if request.one_token and said.startswith(request.one_token):
            said = request.one_token
        ends = self.tokenizer.ends(said)
        cut = len(ends) > budget
        said = said[: ends[budget - 1]] if cut else said
        text, thinking = split_thinking(said, not cut)
        tokens = min(len(ends), budget)
        ids = _ids(said) if request.logprobs else None
        return Completion(
            text=text,
            finish="length" if cut else "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=tokens,
            thinking=thinking,
            cost_usd=self.price.of(prompt_tokens, tokens) if self.price else 0.0,
            prompt_ids=tuple(chain(*map(_ids, request.prompt.segments))) if request.logprobs else None,
            token_ids=ids,
            logprobs=None if ids is None else tuple(-(token % 1000) / 1000 for token in ids),
        )


def tagged(prompt: str, tag: str) -> str | None:
    """What stands between the lines `<tag>` and `</tag>` of a prompt; None where they are not."""
    start, end = prompt.find(f"<{tag}>"), prompt.rfind(f"</{tag}>")
    return None if start < 0 or end < start else prompt[start + len(tag) + 2 : end].strip("\n")


def _ids(text: str) -> tuple[int, ...]:
    """An id for each token of `text`, the same in every run."""
    return tuple(zlib.crc32(token.encode("utf-8", "surrogatepass")) for token in _WORDS.findall(text))


def _read(request: Request, keywords: Sequence[str]) -> str:
    prompt = request.prompt.text
    memory, section = tagged(prompt, "memory") or "", tagged(prompt, "section")
    known = [] if memory == "No previous memory" else memory.splitlines()
    if section is None:
        return f"\\boxed{{{'; '.join(known)}}}"
    found = [line for line in section.splitlines() if any(word in line for word in keywords)]
    new = [line for line in dict.fromkeys(found) if line not in known]
    if request.one_token is None:
        return "\n".join([*known, *new]) or "No previous memory"
    return "Add: " + "\n".join(new) if new else request.one_token
