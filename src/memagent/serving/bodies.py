"""Replies as OpenAI's clients expect them: one body, or the events of a stream.

A reading shows itself on the way as reasoning, and its evidence comes as annotations. It does not know routes.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from memagent.reading import Reading
from memagent.reading.run import Progress
from memagent.serving.service import Done

KEEP_ALIVE = b": reading goes on\n\n"
END = b"data: [DONE]\n\n"
QUIET_SECONDS = 5.0  # between two lines that say no more than how far it is


@dataclass(frozen=True, slots=True)
class Frame:
    """What all parts of one reply have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, done: Done) -> dict[str, Any]:
        """The body of a reply that is no stream."""
        choices = [
            {
                "index": number,
                "message": {"role": "assistant", "content": choice.text, "refusal": None, **_about(done.reading)},
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for number, choice in enumerate(done.choices)
        ]
        body = {"id": self.id, "object": "chat.completion", "created": self.created, "model": self.model}
        return {**body, "choices": choices, "usage": usage(done), **_read(done.reading)}

    def opening(self, count: int) -> Iterator[bytes]:
        """The first events: who speaks."""
        for number in range(count):
            yield self._event(number, {"role": "assistant", "content": ""})

    def thought(self, text: str) -> bytes:
        """What is seen of a reading while it runs."""
        return self._event(0, {"reasoning_content": text})

    def closing(self, done: Done, *, with_usage: bool) -> Iterator[bytes]:
        """The answers, with their evidence, and how they ended."""
        for number, choice in enumerate(done.choices):
            yield self._event(number, {"content": choice.text})
            if about := _about(done.reading):
                yield self._event(number, about)
            yield self._event(number, {}, finish=choice.finish, more=_read(done.reading))
        if with_usage:
            yield event({**self._head(), "choices": [], "usage": usage(done)})
        yield END

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}

    def _event(
        self, number: int, delta: dict[str, Any], finish: str | None = None, more: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**self._head(), "choices": [choice], **(more or {})})


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n"


def usage(done: Done) -> dict[str, Any]:
    """Tokens of all calls behind a reply, those of earlier sessions of its reading included."""
    reading = done.reading
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reading.usage.cached_tokens if reading else 0},
    }


def _about(reading: Reading | None) -> dict[str, Any]:
    """Evidence with its characters in the extracted text of its source."""
    if reading is None:
        return {}
    found = [{"type": "document_citation", "document_citation": asdict(one)} for one in reading.evidence]
    return {"annotations": found} if found else {}


def _read(reading: Reading | None) -> dict[str, Any]:
    """What a reading has to say of itself, in a field that other clients pass over."""
    if reading is None:
        return {}
    told = ("status", "memory", "reading_id")
    return {"memagent": {**{name: getattr(reading, name) for name in told}, "coverage": asdict(reading.coverage)}}


class Watch:
    """A reading under way in words: its memory whenever it changes, and now and then how far it is."""

    def __init__(self) -> None:
        self._said = -QUIET_SECONDS
        self._chunks = 0

    def line(self, progress: Progress) -> str | None:
        """What to say after a turn; None for nothing."""
        run, turn = progress.run, progress.turn
        if turn is None:
            return f"Reading {run.characters:,} characters (reading {run.reading_id}).\n"
        self._chunks += 1
        share = 100 * run.position / max(1, run.characters)
        if turn.changed:
            return f"\n[{share:.0f}%, part {self._chunks}] The memory is now:\n{turn.memory}\n"
        if turn.outcome == "failed":
            return f"\n[{share:.0f}%, part {self._chunks}] This part could not be read: {turn.error}\n"
        now = time.monotonic()
        if now - self._said < QUIET_SECONDS:
            return None
        self._said = now
        return f"[{share:.0f}%] "
