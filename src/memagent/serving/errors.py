"""What a client is told when a request fails: a status, and a body as OpenAI's clients expect it.

It does not know routes or readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memagent.errors import (
    DocumentError,
    InputError,
    JournalError,
    MemagentError,
    OptionError,
    SetupError,
    StoppedError,
    TurnError,
    WindowOverflow,
)


@dataclass
class ApiError(Exception):
    """A request that ends here. `kind` and `code` are OpenAI's `type` and `code`."""

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The request itself is at fault: 400."""
    return ApiError(400, message, code=code, param=param)


def busy(message: str, seconds: float) -> ApiError:
    """There is no place now: 429, with when to come back."""
    headers = {"Retry-After": str(max(1, round(seconds)))}
    return ApiError(429, message, "rate_limit_error", "rate_limit_exceeded", headers=headers)


def ending() -> ApiError:
    """The server ends while a request is under way: 503."""
    message = "the server is ending; the same request goes on where it stopped"
    return ApiError(503, message, "server_error", "server_ending", headers={"Retry-After": "10"})


def from_memagent(error: MemagentError) -> ApiError:
    """What went wrong below, as a client sees it."""
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, WindowOverflow):
        return invalid(message, code="context_length_exceeded")
    if isinstance(error, OptionError | InputError | DocumentError):
        return invalid(message)
    if isinstance(error, JournalError):
        return ApiError(503, f"{message}; ask again later", "server_error", "journal", headers={"Retry-After": "5"})
    if isinstance(error, TurnError):
        return ApiError(502, message, "server_error", "model_refused")
    if isinstance(error, StoppedError | SetupError):
        # What was read is kept: the same request goes on.
        return ApiError(
            503, f"{message}; the same request goes on", "server_error", "model_down", headers={"Retry-After": "10"}
        )
    return ApiError(500, "internal error", "server_error")
