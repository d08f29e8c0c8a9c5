"""Bodies of requests, as OpenAI's clients send them and a few fields of our own; what is not known is left alone.

It does not know what is done with them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from memagent.serving.errors import invalid
from memagent.serving.messages import Said

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_MESSAGES = 100_000
MOST_CHOICES = 16


# JSON can say halves of surrogate pairs, which no file and no reply can.
Text = Annotated[str, AfterValidator(lambda text: text.encode("utf-8", "replace").decode("utf-8"))]


class Part(BaseModel):
    """A part of a message's content; only text is read."""

    model_config = ConfigDict(extra="allow")
    type: str
    text: str | None = None


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def other(self) -> str | None:
        """The kind of the first part that is no text, if there is one."""
        parts = self.content if isinstance(self.content, list) else []
        return next((part.type for part in parts if part.type not in ("text", "input_text")), None)

    def said(self) -> Said:
        """Who spoke, and the text.

        Raises:
            ApiError: it holds what is no text.
        """
        if not isinstance(self.content, list):
            return Said(self.role, self.content or "")
        if self.other is not None:
            raise invalid(f"this server reads text, not {self.other}: leave it out", param="messages")
        return Said(self.role, "\n".join(part.text or "" for part in self.content))


class NamedText(BaseModel):
    """A document sent along."""

    model_config = ConfigDict(extra="allow")
    text: str = Field(min_length=1)
    name: str | None = None


class NewFeed(BaseModel):
    """`POST /v1/feeds`: what a growing source is read for."""

    problem: Text = Field(min_length=1, max_length=100_000)


class FeedPart(BaseModel):
    """`POST /v1/feeds/ID/parts`: what has come."""

    text: Text = Field(min_length=1)


class StreamOptions(BaseModel):
    """See OpenAI's."""

    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """`POST /v1/chat/completions`.

    Ours: `documents` (texts), `file_ids` (uploaded before), which are always read, and `read`: true reads what would
    fit the window, too, false never reads.
    """

    model_config = ConfigDict(extra="allow")
    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    stop: str | list[str] | None = None
    documents: list[str | NamedText] | None = None
    file_ids: list[str] | None = None
    read: StrictBool | None = None

    @property
    def limit(self) -> int | None:
        """Tokens that the answer may have at most, if a bound is set."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.n or 1

    @property
    def stops(self) -> list[str]:
        """Texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [one for one in given if one]

    @property
    def samples(self) -> bool:
        """Whether answers are drawn: greedy where no temperature is named."""
        return bool(self.temperature)

    def texts(self) -> list[str]:
        """The documents that came along."""
        return [one if isinstance(one, str) else one.text for one in self.documents or ()]
