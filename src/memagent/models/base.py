"""What the reader asks of a model, and what comes back: text, token ids and log-probabilities.

It does not know documents, memories or protocols: a prompt is a user turn made of segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from memagent.tokens import Tokenizer

# What a CancelledError says of a call that was given up before anything of it was sent or computed.
NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One user turn, as segments that models with their own tokenizer tokenise separately.

    The first `shared` segments are the part that will probably be asked again with another
    ending (problem and chunk before the memory), so that their state is worth keeping.
    One segment alone is tokenised together with the chat template, as everyone else does. `history` are the turns
    before this one, as roles and texts (readings have none), and `prefill` is how the reply begins: it is not
    generated, and not part of the completion.
    """

    segments: tuple[str, ...]
    shared: int = 0
    history: tuple[tuple[str, str], ...] = ()
    prefill: str = ""

    @property
    def text(self) -> str:
        """The whole user turn."""
        return "".join(self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One model call.

    `max_tokens` bounds the visible completion and `thinking_tokens` comes on top of it for models
    that think aloud first. `one_token` is a word that, as the first token, is a whole reply: models
    that can do so stop there. `logprobs` asks for token ids and their log-probabilities.
    """

    prompt: Prompt
    max_tokens: int
    thinking_tokens: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    one_token: str | None = None
    logprobs: bool = False


def seeded(request: Request, count: int) -> list[Request]:
    """`count` requests that differ in their seeds alone, where there is one: the given one first."""
    seed = request.sampling.seed
    seeds = [None if seed is None else seed + number for number in range(count)]
    return [replace(request, sampling=replace(request.sampling, seed=one)) for one in seeds]


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in USD for a million tokens; cached prompt tokens may be cheaper."""

    prompt: float
    completion: float
    cached: float | None = None

    def of(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """The price of one call in USD; `cached_tokens` are among the prompt's."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt + cached_tokens * cached + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model generated.

    `text` is without the thinking, which stands in `thinking`. Token ids and log-probabilities are
    those that were sampled (None where the model cannot tell): `token_ids` has shape (completion,),
    `logprobs` the same, in nats under the sampling distribution's temperature; `prompt_ids` are the
    ids the model really saw, chat template included.
    """

    text: str
    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    thinking: str = ""
    cached_tokens: int = 0
    cost_usd: float = 0.0
    prompt_ids: tuple[int, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


class Model(Protocol):
    """Who generates. Calls may run concurrently; the model bounds or batches them itself.

    `identity` names the weights and how they are reached, without secrets: readings resume only
    where it is equal. `window` is prompt plus completion, in tokens. `special_tokens` are the
    strings that a chat template gives meaning to and that no document may speak. `suggests` holds
    the reading settings that suit these weights and this engine (protocol, chunk_tokens, memory_tokens,
    read_ahead, gate, verbatim, confirm, sift, reread), as far as they are known: those it was trained with. `notes`
    are lines that the user should see about this model.
    """

    name: str
    window: int
    tokenizer: Tokenizer
    special_tokens: tuple[str, ...]
    suggests: Mapping[str, str | float]
    price: Price | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about this model, a line each."""
        ...

    @property
    def identity(self) -> dict[str, str]:
        """What makes this model this one, for the journal."""
        ...

    def prompt_tokens(self, prompt: Prompt) -> int:
        """Tokens of `prompt` with its chat template: exact, or an upper bound where no tokenizer is known."""
        ...

    async def generate(self, request: Request) -> Completion:
        """Answer one request.

        Raises:
            WindowOverflow: prompt and completion do not fit the window.
            TurnRefused: this text is refused.
            SetupError: key, address or model name are wrong.
            EndpointDown: it answered before and does not any more.
            CancelledError: the caller gave up; with NOT_STARTED where that cost nothing.
        """
        ...

    async def disconnect(self) -> None:
        """Close what belongs to the running event loop; the model can go on in another one."""
        ...

    async def aclose(self) -> None:
        """Let go of connections, threads and memory."""
        ...
