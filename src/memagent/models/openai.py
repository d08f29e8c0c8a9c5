"""Any OpenAI-compatible endpoint as a `Model`: vLLM, SGLang, llama.cpp, Ollama, hosted ones.

It decides when to try again, how long to wait, how many calls run at once, and what the user is told.
How bodies look, what failures mean and whether the whole prompt arrived is known in `endpoint/`.
It knows no documents and no memories.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memagent.errors import MemagentError, OptionError, PromptWasCut
from memagent.models.base import NOT_STARTED, Completion, Price, Prompt, Request
from memagent.models.endpoint.address import Address
from memagent.models.endpoint.bodies import Answer, Dialect, read_answer
from memagent.models.endpoint.explain import explain
from memagent.models.endpoint.failures import Failure, from_sdk
from memagent.models.endpoint.listing import Listing
from memagent.models.endpoint.prompt_check import PromptCheck
from memagent.models.prices import parse_price
from memagent.tokens import ByteEstimate, Tokenizer, worst_case

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAIModel", "parse_price", "pause"]

ASSUMED_WINDOW = 32_768
# More than any chat template adds around one user turn.
TEMPLATE_TOKENS = 64
FIRST_WAIT, LONGEST_WAIT, LONGEST_ASKED_WAIT = 0.5, 30.0, 120.0
_LISTING_SECONDS = 30.0
_REMEMBERED_COUNTS = 1024
WORTH_ANOTHER_TRY = ("transient", "garbled", "unreachable")
_ALL_THINKING = "replies were all thinking: give --thinking-tokens, or more of them"


def pause(failures: int, retry_after: float | None) -> float:
    """Seconds to wait after the `failures`-th failure in a row, or as long as the server asks; jittered."""
    if retry_after is not None:
        return min(retry_after * random.uniform(1.0, 1.1), LONGEST_ASKED_WAIT)
    return min(FIRST_WAIT * 2.0 ** min(failures - 1, 16), LONGEST_WAIT) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class _Line:
    """What belongs to one event loop: connections, and places for calls under way."""

    loop: asyncio.AbstractEventLoop
    client: AsyncOpenAI
    places: asyncio.Semaphore


class OpenAIModel:
    """A model behind an endpoint, reached with the official SDK.

    `base_url` and `api_key` default to OPENAI_BASE_URL and OPENAI_API_KEY; an endpoint of one's own
    needs no key. Without `tokenizer` (the model's own), tokens are estimated and prompts are checked
    against the window by their bytes. `window`, in tokens, is asked of the endpoint by `prepare` if it
    is not given, and 32,768 is assumed where it does not say. `timeout` is in seconds for one try.
    `answered` is whether a chat was ever completed, by this object or (if a caller sets it) by an earlier one:
    later failures then are about one text or an endpoint that went down, not about the set-up.

    Raises:
        OptionError: the URL is malformed or a number is out of range.
        SetupError: the key is missing.
    """

    special_tokens: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        tokenizer: Tokenizer | None = None,
        window: int | None = None,
        concurrency: int = 8,
        timeout: float = 600,
        retries: int = 5,
        price: Price | None = None,
    ) -> None:
        _check_options(name, window, concurrency, timeout, retries)
        self.name = name
        self.tokenizer: Tokenizer = tokenizer or ByteEstimate()
        self.window = window or ASSUMED_WINDOW
        self.suggests: Mapping[str, str | float] = {}
        self.price = price
        self._address = Address.given(base_url, api_key)
        self._window_given = window is not None
        self._concurrency, self._timeout, self._retries = concurrency, timeout, retries
        self._dialect = Dialect()
        self._cuts = PromptCheck(self._count if self.tokenizer.exact else None)
        self._counts: dict[int, int] = {}
        self._notes: dict[str, None] = {}
        self.answered = False
        self._listing: Listing | None = None
        self._open: _Line | None = None

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r}, host={self.host!r})"

    @property
    def host(self) -> str:
        """The endpoint's host, which is all of its address that may be shown."""
        return self._address.host

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Model.notes`: what this endpoint does not support, does not report, or did not say."""
        return (*self._notes, *self._dialect.notes)

    @property
    def identity(self) -> dict[str, str]:
        """See `Model.identity`; without the address, so that a reading can move to another server."""
        return {"kind": "openai", "name": self.name, "tokenizer": self.tokenizer.name}

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Tokens of `prompt` by the tokenizer, else its bytes; with room for the chat template."""
        size = self._count(prompt.text) if self.tokenizer.exact else worst_case(prompt.text)
        return size + TEMPLATE_TOKENS

    async def prepare(self) -> None:
        """Asks the endpoint once for its models and the window of this one.

        Raises:
            EndpointUnreachable: nothing answers at that address.
            SetupError: the key is refused.
        """
        if self._listing is not None:
            return
        try:
            self._listing = await self._list()
        except Failure as failure:
            # A key may be good for chats and not for listing; a server may list nothing. Chats will tell.
            if failure.kind == "unreachable" or (failure.kind == "denied" and "scope" not in failure.signs):
                raise await self.told(failure, tries=1) from None
            self._listing = Listing()
        if self._window_given:
            return
        self.window = self._listing.window or ASSUMED_WINDOW
        if self._listing.window is None:
            self._note(f"{self.host} does not tell its window: {ASSUMED_WINDOW} tokens are assumed")

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`. A call waits its turn (`concurrency`), but not while it pauses to retry.

        Raises:
            WindowOverflow: the endpoint says that the prompt does not fit.
            TurnRefused: a content filter, or a refusal of this one request.
            PromptWasCut: the endpoint read only a part of the prompt.
            SetupError: key, model name or account are refused; EndpointUnreachable if none ever answered.
            EndpointDown: it answered before (or listed its models and gives no answer now), and every retry failed.
        """
        failures = 0
        while True:
            try:
                return await self.attempt(request)
            except Failure as failure:
                failures += 1
                if failure.kind not in WORTH_ANOTHER_TRY or failures > self._retries:
                    raise await self.told(failure, failures) from None
                wait = pause(failures, failure.retry_after)
            await asyncio.sleep(wait)

    async def attempt(self, request: Request) -> Completion:
        """One try; more only to leave out what the endpoint turns out not to know.

        Raises:
            Failure: what went wrong.
            PromptWasCut: the endpoint read only a part of the prompt.
        """
        while True:
            body = self._dialect.body(self.name, request)
            try:
                return self._completion(request, read_answer(await self._post(body)))
            except Failure as failure:
                if not self._dialect.learns(failure, body):
                    raise

    async def told(self, failure: Failure, tries: int) -> MemagentError:
        """What the user is told of a failure after so many tries."""
        if failure.kind == "missing" and self._listing is None:
            await self._list_quietly()
        failure.detail = self._address.scrub(failure.detail)
        return explain(
            failure,
            host=self.host,
            model=self.name,
            listing=self._listing or Listing(),
            answered=self.answered,
            tries=tries,
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.disconnect()

    async def disconnect(self) -> None:
        """Closes the connections; the model can be used again and opens new ones."""
        line, self._open = self._open, None
        if line is not None and line.loop is asyncio.get_running_loop():
            await line.client.close()

    def _line(self) -> _Line:
        """The client of the running event loop: connections cannot move to another."""
        loop = asyncio.get_running_loop()
        if self._open is None or self._open.loop is not loop:
            client = self._address.client(connections=self._concurrency, timeout=self._timeout)
            self._open = _Line(loop, client, asyncio.Semaphore(self._concurrency))
        return self._open

    async def _post(self, body: dict[str, Any]) -> object:
        """One try. The untyped form of `chat.completions.create`: faster, and any garbage comes through."""
        line = self._line()
        try:
            await line.places.acquire()
        except asyncio.CancelledError:
            raise asyncio.CancelledError(NOT_STARTED) from None
        try:
            return await line.client.post("/chat/completions", cast_to=object, body=body)
        except Exception as error:
            raise from_sdk(error) from None
        finally:
            line.places.release()

    async def _list(self) -> Listing:
        client = self._line().client
        try:
            seconds = min(self._timeout, _LISTING_SECONDS)
            return Listing.read(await client.get("/models", cast_to=object, options={"timeout": seconds}), self.name)
        except Exception as error:
            raise from_sdk(error) from None

    async def _list_quietly(self) -> None:
        try:
            self._listing = await self._list()
        except Failure:
            self._listing = Listing()

    def _completion(self, request: Request, answer: Answer) -> Completion:
        self.answered = True
        text = request.prompt.text
        if answer.prompt_tokens:
            self._check_whole(request, text, answer.prompt_tokens)
        else:
            self._note(f"{self.host} reports no usage: tokens are estimated, cut prompts go unnoticed")
        if answer.finish == "length" and answer.thinking and not answer.text.strip():
            self._note(_ALL_THINKING)
        prompt_tokens = answer.prompt_tokens or self.tokenizer.count(text)
        completion_tokens = answer.completion_tokens
        if completion_tokens is None:
            completion_tokens = self.tokenizer.count(answer.thinking + answer.text)
        cost = self.price.of(prompt_tokens, completion_tokens, answer.cached_tokens) if self.price else 0.0
        return Completion(
            text=answer.text,
            finish=answer.finish,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            thinking=answer.thinking,
            cached_tokens=answer.cached_tokens,
            cost_usd=cost,
            prompt_ids=answer.prompt_ids,
            token_ids=answer.token_ids,
            logprobs=answer.logprobs,
        )

    def _check_whole(self, request: Request, text: str, reported: int) -> None:
        tokens = self._cuts.lost(text, reported)
        if tokens is None:
            return
        need = tokens + TEMPLATE_TOKENS + request.max_tokens + request.thinking_tokens
        known = "has" if self.tokenizer.exact else "has about"
        raise PromptWasCut(
            f"{self.host} read {reported} tokens of a prompt that {known} {tokens}: it cuts prompts "
            f"silently; give it a context of at least {-(-need // 1024) * 1024} tokens (Ollama: num_ctx or "
            f"OLLAMA_CONTEXT_LENGTH), or use smaller --chunk-tokens, or check --tokenizer"
        )

    def _count(self, text: str) -> int:
        """Tokens of `text`, remembered: the reader, the check and the usage all ask for the same prompts."""
        known = self._counts.get(hash(text))
        if known is None:
            if len(self._counts) >= _REMEMBERED_COUNTS:
                self._counts.clear()
            known = self._counts[hash(text)] = self.tokenizer.count(text)
        return known

    def _note(self, line: str) -> None:
        self._notes.setdefault(line)


def _check_options(name: str, window: int | None, concurrency: int, timeout: float, retries: int) -> None:
    if not name.strip():
        raise OptionError("--model needs a name")
    if window is not None and window < 1:
        raise OptionError(f"the window must be at least 1 token, not {window}")
    if concurrency < 1:
        raise OptionError(f"--concurrency must be at least 1, not {concurrency}")
    if not timeout > 0:
        raise OptionError(f"the time-out must be more than 0 seconds, not {timeout}")
    if retries < 0:
        raise OptionError(f"retries must be 0 or more, not {retries}")
