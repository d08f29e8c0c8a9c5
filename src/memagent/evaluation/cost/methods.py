"""The calls that each way to answer makes, and what they take: dense (all at once), `paper` and `gated`.

Every memory and every reply is taken as long as it may be, so real readings cost less. It does not know devices or
prices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from memagent.errors import OptionError
from memagent.evaluation.cost.architecture import Architecture
from memagent.evaluation.cost.flops import ANSWER_FRAME, FRAME, decode, prefill, traffic

_COUNTED = ("question", "chunk", "memory", "answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Tokens of each part, and how a gated reading goes; the defaults are the paper's sizes.

    `change_rate` is the share of chunks that change the memory (evenly spaced), `read_ahead` how many chunks are tried
    at once. With `reuse` the state of what stands before the memory is kept, so that a chunk tried again
    computes its memory alone. `value_bytes` are those of a weight and of a key or value.
    """

    question: int = 1024
    chunk: int = 5000
    memory: int = 1024
    answer: int = 1024
    change_rate: float = 0.02
    read_ahead: int = 8
    reuse: bool = True
    value_bytes: int = 2

    def check(self) -> None:
        """Raise OptionError where a number makes no sense."""
        for name in (*_COUNTED, "read_ahead", "value_bytes"):
            if getattr(self, name) < 1:
                option = f"{name}-tokens" if name in _COUNTED else name.replace("_", "-")
                raise OptionError(f"--{option} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.change_rate <= 1:
            raise OptionError(f"--change-rate is a share from 0 to 1, not {self.change_rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What calls take: tokens as a provider counts them, operations, bytes read while decoding.

    `prompt_tokens` include the `cached_tokens`, whose state was known. `context` is the longest text of one call
    (prompt and reply), which must fit the window; `resident` the tokens whose state is in memory at once.
    """

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prefill_flops: float = 0.0
    decode_flops: float = 0.0
    decode_bytes: float = 0.0
    context: int = 0
    resident: int = 0

    @property
    def flops(self) -> float:
        """All operations."""
        return self.prefill_flops + self.decode_flops

    def __add__(self, other: Work) -> Work:
        sums = {one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)}
        most = {name: max(getattr(self, name), getattr(other, name)) for name in _MOST}
        return Work(**{**sums, **most})

    def times(self, count: int) -> Work:
        """The same calls so often, one after the other."""
        if not count:
            return Work()
        products = {one.name: getattr(self, one.name) * count for one in fields(self)}
        return Work(**{**products, **{name: getattr(self, name) for name in _MOST}})


_MOST = ("context", "resident")  # what calls one after the other need the most of, not the sum


def call(model: Architecture, sizes: Sizes, *, prompt: int, reply: int, cached: int = 0) -> Work:
    """One call. Its first token comes out of the prompt, so one step fewer than its tokens is decoded."""
    return Work(
        calls=1,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=reply,
        prefill_flops=prefill(model, prompt - cached, past=cached),
        decode_flops=decode(model, reply - 1, past=prompt),
        decode_bytes=traffic(model, reply - 1, past=prompt, value_bytes=sizes.value_bytes),
        context=prompt + reply,
        resident=prompt + reply,
    )


def dense(model: Architecture, sizes: Sizes, tokens: int) -> Work:
    """The whole document in one prompt."""
    return call(model, sizes, prompt=sizes.question + tokens, reply=sizes.answer)


def paper(model: Architecture, sizes: Sizes, tokens: int) -> Work:
    """The memory is written anew at each chunk."""
    frame = FRAME + sizes.question + sizes.memory
    full, rest = divmod(tokens, sizes.chunk)
    work = call(model, sizes, prompt=frame + sizes.chunk, reply=sizes.memory).times(full)
    if rest:
        work += call(model, sizes, prompt=frame + rest, reply=sizes.memory)
    return work + _answer(model, sizes)


def gated(model: Architecture, sizes: Sizes, tokens: int) -> Work:
    """One token where a chunk leaves the memory alone; chunks tried in vain included."""
    full, rest = divmod(tokens, sizes.chunk)
    changes, vain = schedule(full + bool(rest), sizes)
    prefix = FRAME + sizes.question + min(sizes.chunk, tokens)
    prompt = prefix + sizes.memory
    work = call(model, sizes, prompt=prompt, reply=1).times(full)
    if rest:
        work += call(model, sizes, prompt=prompt - min(sizes.chunk, tokens) + rest, reply=1)
    again = call(model, sizes, prompt=prompt, reply=1, cached=prefix if sizes.reuse else 0)
    work += again.times(vain) + _written(model, sizes, prompt).times(changes) + _answer(model, sizes)
    return replace(work, resident=min(sizes.read_ahead, full + bool(rest)) * work.context)


def _written(model: Architecture, sizes: Sizes, prompt: int) -> Work:
    """What a change decodes behind the token that decided it; no call of its own."""
    return Work(
        completion_tokens=sizes.memory,
        decode_flops=decode(model, sizes.memory, past=prompt),
        decode_bytes=traffic(model, sizes.memory, past=prompt, value_bytes=sizes.value_bytes),
        context=prompt + 1 + sizes.memory,
    )


def schedule(chunks: int, sizes: Sizes) -> tuple[int, int]:
    """How many of `chunks` change the memory, and how many calls are made in vain, by the reader's own rule.

    The width starts at one, doubles with a keep and halves with a change (`reading.lookahead`).
    """
    changes = vain = tried = 0
    width = 1
    for number in range(chunks):
        tried = max(tried, min(width, chunks - number)) - 1
        changed = math.floor((number + 1) * sizes.change_rate + 0.5) > math.floor(number * sizes.change_rate + 0.5)
        if changed:
            changes, vain, tried, width = changes + 1, vain + tried, 0, max(1, width // 2)
        else:
            width = min(sizes.read_ahead, width * 2)
    return changes, vain


def _answer(model: Architecture, sizes: Sizes) -> Work:
    return call(model, sizes, prompt=ANSWER_FRAME + sizes.question + sizes.memory, reply=sizes.answer)


METHODS: Mapping[str, Callable[[Architecture, Sizes, int], Work]] = {"dense": dense, "paper": paper, "gated": gated}
