"""Chat-completions bodies: a `Request` made into one, and an answer read from one.

It knows the dialects that endpoints speak (which parameters they refuse, where they put reasoning, token
ids and cached tokens), not how bodies travel.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from memagent.models.base import Prompt, Request
from memagent.models.endpoint.failures import Failure, from_answer, sound
from memagent.models.thinking import split_thinking

# What a request can do without, the least missed first.
_OPTIONAL = ("return_token_ids", "logprobs", "seed", "top_p", "temperature")
_SHORTENED = {"length", "max_tokens", "model_length", "max_output_tokens"}
_REFUSALS = {"refusal", "safety", "recitation", "sensitive", "prohibited_content", "blocklist", "spii"}
_BROKEN = {"abort", "error", "insufficient_system_resource"}


class Dialect:
    """What one endpoint understands; it learns from each refusal."""

    def __init__(self) -> None:
        self._limit = "max_tokens"
        self._dropped: set[str] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each parameter that is no longer sent and that the user may miss."""
        missed = [name for name in reversed(_OPTIONAL) if name in self._dropped and name != "return_token_ids"]
        return tuple(f"the endpoint does not support {name}: it is left out" for name in missed)

    def body(self, model: str, request: Request) -> dict[str, Any]:
        """The JSON body that asks `request` of `model`, the prompt as one user message byte for byte.

        Lone surrogates, which no JSON can carry, become question marks. top_p is left out of greedy
        requests, where it says nothing and some endpoints refuse the pair.
        """
        text, sampling = request.prompt.text, request.sampling
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        optional: dict[str, Any] = {"temperature": sampling.temperature}
        if sampling.temperature > 0:
            optional["top_p"] = sampling.top_p
        if sampling.seed is not None:
            optional["seed"] = sampling.seed
        if request.logprobs:
            optional |= {"logprobs": True, "return_token_ids": True}
        return {
            "model": model,
            "messages": [{"role": role, "content": said} for role, said in _turns(request.prompt, text)],
            self._limit: request.max_tokens + request.thinking_tokens,
            **{name: value for name, value in optional.items() if name not in self._dropped},
        }

    def learns(self, failure: Failure, body: dict[str, Any]) -> bool:
        """Whether `failure` names a parameter of `body` that can be done without; later bodies lack it."""
        if failure.kind != "rejected":
            return False
        if "max_tokens" in body and "max_completion_tokens" in failure.signs:
            self._limit = "max_completion_tokens"
            return True
        sent = [name for name in _OPTIONAL if name in body]
        named = [name for name in sent if name == failure.param]
        named = named or [name for name in sent if re.search(rf"\b{name}\b", failure.signs)]
        self._dropped.update(named[:1])
        return bool(named)


def _turns(prompt: Prompt, text: str) -> list[tuple[str, str]]:
    return [*prompt.history, ("user", text), *([("assistant", prompt.prefill)] if prompt.prefill else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an endpoint answered. Counts are None where it reports none.

    `token_ids` and `logprobs` (nats, as the server counts them) cover thinking and text alike, shape
    (completion,); `prompt_ids` has shape (prompt,).
    """

    text: str
    thinking: str
    finish: Literal["stop", "length"]
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int
    prompt_ids: tuple[int, ...] | None
    token_ids: tuple[int, ...] | None
    logprobs: tuple[float, ...] | None


def read_answer(data: object) -> Answer:
    """The answer in a decoded body, lone surrogates in it replaced.

    Raises:
        Failure: garbled for a body that is no completion, refused for a filtered one, or what an
            error inside a body of status 200 means.
    """
    if not isinstance(data, dict):
        raise Failure("garbled", "its answer is not a chat completion")
    choice = _choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Failure("garbled", "its answer holds no message")
    finish = _finish(choice, message)
    text, thinking = split_thinking(_text(message.get("content")), finish == "stop")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    prompt_tokens, completion_tokens, cached = _usage(data.get("usage"))
    token_ids, logprobs = _tokens(choice)
    return Answer(
        text=sound(text),
        thinking=sound((reasoning if isinstance(reasoning, str) else "") + thinking),
        finish=finish,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_tokens=cached,
        prompt_ids=_ids(data.get("prompt_token_ids")),
        token_ids=token_ids,
        logprobs=logprobs,
    )


def _choice(data: dict[str, Any]) -> dict[str, Any]:
    error = data.get("error")
    if error:
        code = error.get("code") if isinstance(error, dict) else None
        raise from_answer(code if isinstance(code, int) and code >= 400 else 500, error, {})
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Failure("garbled", "its answer holds no choices")
    return choices[0]


def _finish(choice: dict[str, Any], message: dict[str, Any]) -> Literal["stop", "length"]:
    reason = str(choice.get("finish_reason") or "stop").lower()
    if reason.startswith("content_filter") or reason in _REFUSALS:
        raise Failure("refused", f"it stopped with {reason}")
    if message.get("refusal") and not message.get("content"):
        raise Failure("refused", "it refused to answer")
    if reason in _BROKEN:
        raise Failure("transient", f"it stopped with {reason}")
    return "length" if reason in _SHORTENED else "stop"


def _text(content: object) -> str:
    """The visible text of a message: a string, nothing, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Failure("garbled", "its answer holds no text")
    parts = [part for part in content if isinstance(part, dict)]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _usage(usage: object) -> tuple[int | None, int | None, int]:
    """(prompt, completion, cached) tokens; cached ones are among the prompt's, however they are reported."""
    if not isinstance(usage, dict):
        return None, None, 0
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    known = _count(cached) or _count(usage.get("prompt_cache_hit_tokens")) or 0
    prompt = _count(usage.get("prompt_tokens")) or None
    if prompt is None:
        return None, _count(usage.get("completion_tokens")), 0
    return prompt + known if known > prompt else prompt, _count(usage.get("completion_tokens")), known


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _tokens(choice: dict[str, Any]) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """Ids from vLLM's `token_ids` or llama.cpp's `id`s, and the log-probabilities."""
    holder = choice.get("logprobs")
    entries = holder.get("content") if isinstance(holder, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return _ids(choice.get("token_ids")), None
    ids = _ids(choice.get("token_ids")) or _ids([entry.get("id") for entry in entries])
    values = [entry.get("logprob") for entry in entries]
    finite = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    return ids, tuple(map(float, values)) if finite else None


def _ids(values: object) -> tuple[int, ...] | None:
    if not isinstance(values, list) or not values or not all(type(value) is int for value in values):
        return None
    return tuple(values)
