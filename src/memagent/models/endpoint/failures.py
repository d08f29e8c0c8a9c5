"""What went wrong at an endpoint, as one of a few kinds, whatever server or SDK said it.

It reads status codes and bodies as OpenAI, Azure, vLLM, SGLang, llama.cpp, Ollama, TGI, LM Studio,
Mistral and Anthropic's and Google's compatible endpoints word them. It decides neither whether to try
again nor what the user is told (see `models/openai.py`).
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import socket
import time
from collections.abc import Mapping
from typing import Literal

# overflow: the prompt does not fit; refused: this text is refused; denied: the key is;
# missing: no such model or path; quota: the account is empty; rejected: any other fault of the
# request; transient: worth another try; garbled: the same,
# and the answer was no chat completion; unreachable: the same, and no HTTP answer came at all.
Kind = Literal["overflow", "refused", "denied", "missing", "quota", "rejected", "transient", "garbled", "unreachable"]

_OVERFLOW = re.compile(
    r"context[ _](?:length|size|window|limit)|context_exceeded|string_above_max_length"
    r"|(?:prompt|input) (?:is )?too (?:long|large)|too many (?:input |prompt )?tokens|request too large"
    r"|longer than the (?:maximum )?model|maximum (?:model|sequence|input|prompt) length"
    r"|maximum number of (?:input )?tokens allowed|exceeds? the maximum allowed length"
    r"|`?inputs`? (?:tokens \+|must have less than)|number of tokens to keep|context shift is disabled",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"content[ _]?filter|content[ _]policy|content management policy|responsibleai|usage policy"
    r"|data_?inspection_?failed|content exists risk|invalid_prompt|prompt was (?:flagged|blocked)"
    r"|input was flagged|requires moderation|considered high risk|inappropriate content|敏感内容",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient_quota|insufficient (?:account )?(?:balance|credits|funds)|credit balance is too low", re.I
)
_LONGEST_DETAIL = 240


class Failure(Exception):
    """One failed try. `detail` is the server's own words on one line (not yet free of secrets).

    `signs` adds its error codes; `retry_after` is in seconds, None where the server did not say.
    """

    def __init__(
        self, kind: Kind, detail: str, *, signs: str = "", param: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.signs = signs or detail
        self.param = param
        self.retry_after = retry_after


def from_sdk(error: Exception) -> Failure:
    """What an exception of the `openai` SDK, or of decoding its answer, means; any other is raised again."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return from_answer(error.status_code, error.body, error.response.headers)
    if isinstance(error, openai.APITimeoutError):
        return Failure("unreachable", "no answer in time")
    if isinstance(error, openai.APIConnectionError):
        return Failure("unreachable", _reason(error))
    if isinstance(error, (openai.OpenAIError, ValueError, RecursionError)):
        return Failure("garbled", "its answer is no JSON")
    raise error


def from_answer(status: int, body: object, headers: Mapping[str, str]) -> Failure:
    """What an HTTP status with its decoded body means; also for errors that came with status 200."""
    fields = body if isinstance(body, dict) else {}
    inner = fields.get("error")
    if isinstance(inner, dict):
        fields, body = inner, inner
    detail = _detail(body)
    codes = " ".join(str(fields.get(name) or "") for name in ("code", "type", "error_type", "status"))
    signs = f"{codes} {detail}"
    param = str(fields.get("param") or "")
    shown = f"HTTP {status}: {detail}" if detail else f"HTTP {status}"
    return Failure(_kind(status, signs), shown, signs=signs, param=param, retry_after=retry_after(headers))


def _reason(error: BaseException) -> str:
    """Why no answer came: what lies at the root for the usual two cases, else the nearest cause's words."""
    near = error.__cause__ or error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, socket.gaierror):
            return "unknown host"
        cause = cause.__cause__ or cause.__context__
    return one_line(str(near)) or type(near).__name__


def _kind(status: int, signs: str) -> Kind:
    if status == 413 or (status not in (401, 403, 404) and _OVERFLOW.search(signs)):
        return "overflow"
    if status in (400, 403, 422, 451) and _REFUSED.search(signs):
        return "refused"
    if status in (401, 403, 407):
        return "denied"
    if status == 402 or _QUOTA.search(signs):
        return "quota"
    if status == 404 or "model_not_found" in signs:
        return "missing"
    return "transient" if status in (408, 409, 425, 429) or status >= 500 else "rejected"


def _detail(body: object) -> str:
    """The words of an error body: OpenAI's message, TGI's error, FastAPI's detail, or the text itself."""
    if isinstance(body, dict):
        for name in ("message", "error", "detail"):
            if body.get(name):
                return _detail(body[name])
        return ""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else one_line(body)
    return "" if body is None else one_line(json.dumps(body))


def sound(text: str) -> str:
    """`text` with lone surrogates, which JSON can spell and no file can hold, as U+FFFD; pairs are joined."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """`text` on one line, cut where it goes on for too long."""
    flat = " ".join(sound(text[: 4 * _LONGEST_DETAIL]).split())
    return flat if len(flat) <= _LONGEST_DETAIL else flat[: _LONGEST_DETAIL - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait, by `retry-after-ms` or `Retry-After` (number or date)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = _number(given)
    if seconds is not None or given is None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
