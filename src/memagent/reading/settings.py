"""What the user can set about a reading, its defaults, and whether it fits the model's window.

It does not know documents. Sizes are tokens of the policy's tokenizer.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from memagent.errors import OptionError
from memagent.models.base import Model, Prompt, Sampling
from memagent.reading.protocols import NO_MEMORY, AnswerForm, ReadingProtocol, protocol_named

PAPER_WINDOW, PAPER_CHUNK, PAPER_MEMORY = 8192, 5000, 1024
LEAST_BYTES = 64  # of a chunk: below that, reading makes no sense


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to read. None means: what the model suggests, else what suits its window.

    `answer_tokens` bounds the answer (default: as many as the memory); `thinking_tokens` come on top of
    each reply for models that reason aloud; `read_ahead` is how many chunks may be tried at once;
    `exit` lets the model end the reading early. Four hold back changes of the gated protocol: `gate` those whose
    first token has less than this probability (local models), `verbatim` additions that are no quote of the chunk
    (slips in copying are mended), `confirm` those that the model does not make again when it is shown the passage
    alone; `sift` looks at each sentence of the chunk alone, and takes those that the model would add with at least
    this probability in place of its own words (0: off). `reread` asks on after an addition: the section without what
    was taken from it, until nothing more is. `answer_form` sentence is the published evaluation's.
    """

    protocol: str | None = None
    chunk_tokens: int | None = None
    memory_tokens: int | None = None
    answer_tokens: int | None = None
    thinking_tokens: int = 0
    read_ahead: int | None = None
    exit: bool = False
    gate: float | None = None
    verbatim: bool | None = None
    confirm: bool | None = None
    sift: float | None = None
    reread: bool | None = None
    answer_form: AnswerForm = "boxed"
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def resolve(self, model: Model) -> Plan:
        """These settings with every default filled in for `model`.

        Raises:
            OptionError: a size is impossible, or a protocol unknown.
        """
        share = min(model.window, PAPER_WINDOW) / PAPER_WINDOW
        memory = self._size("memory_tokens", model, int(PAPER_MEMORY * share))
        plan = Plan(
            protocol=str(self.protocol or model.suggests.get("protocol", "paper")),
            chunk_tokens=self._size("chunk_tokens", model, int(PAPER_CHUNK * share)),
            memory_tokens=memory,
            answer_tokens=memory if self.answer_tokens is None else self.answer_tokens,
            read_ahead=self._size("read_ahead", model, 1),
            gate=float(self._held("gate", model)),
            verbatim=bool(self._held("verbatim", model)),
            confirm=bool(self._held("confirm", model, instead="sift")),
            sift=float(self._held("sift", model, instead="confirm")),
            reread=bool(self._held("reread", model)),
            **{name: getattr(self, name) for name in _AS_GIVEN},
        )
        plan.check()
        return plan

    def _size(self, name: str, model: Model, otherwise: int) -> int:
        given: int | None = getattr(self, name)
        return int(model.suggests.get(name, otherwise)) if given is None else given

    def _held(self, name: str, model: Model, *, instead: str = "") -> float | str:
        """What holds changes back: as given; as suggested where the model reads by its own protocol; else nothing.

        What is suggested gives way where another setting is asked for `instead`.
        """
        given: float | None = getattr(self, name)
        own = self.protocol in (None, model.suggests.get("protocol")) and not (instead and getattr(self, instead))
        return given if given is not None else model.suggests.get(name, 0) if own else 0


_AS_GIVEN = ("thinking_tokens", "exit", "answer_form", "temperature", "top_p", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings with nothing left open; what the journal keeps and `--json` prints."""

    protocol: str
    chunk_tokens: int
    memory_tokens: int
    answer_tokens: int
    thinking_tokens: int
    read_ahead: int
    exit: bool
    gate: float
    verbatim: bool
    confirm: bool
    sift: float
    reread: bool
    answer_form: AnswerForm
    temperature: float
    top_p: float
    seed: int | None

    def check(self) -> None:
        """Raise OptionError where a number makes no sense by itself."""
        sizes = {"chunk": self.chunk_tokens, "memory": self.memory_tokens, "answer": self.answer_tokens}
        for name, size in sizes.items():
            if size < 1:
                raise OptionError(f"--{name}-tokens must be at least 1, not {size}")
        if self.read_ahead < 1:
            raise OptionError(f"--read-ahead must be at least 1, not {self.read_ahead}")
        if self.thinking_tokens < 0:
            raise OptionError(f"--thinking-tokens must be 0 or more, not {self.thinking_tokens}")
        if not 0 <= self.temperature <= 2 or not 0 < self.top_p <= 1:
            raise OptionError("--temperature must be from 0 to 2 and --top-p above 0 and at most 1")
        if not 0 <= self.gate < 1:
            raise OptionError(f"--gate is a probability from 0 to below 1, not {self.gate}")
        if not 0 <= self.sift < 1:
            raise OptionError(f"--sift is a probability from 0 (off) to below 1, not {self.sift}")
        can_keep = self.wording().can_keep
        if (self.gate or self.verbatim or self.confirm or self.sift or self.reread) and not can_keep:
            raise OptionError("--gate, --verbatim, --confirm, --sift and --reread are for --protocol gated")
        if self.confirm and self.sift:
            raise OptionError("--confirm and --sift are two second looks at the same addition: choose one")

    def wording(self) -> ReadingProtocol:
        """The protocol object."""
        return protocol_named(self.protocol, may_exit=self.exit, answer_form=self.answer_form)

    def sampling(self, turn: int) -> Sampling:
        """How turn number `turn` is drawn: each turn has its own seed, so that replays repeat it."""
        seed = None if self.seed is None else (self.seed * 1_000_003 + turn) % 2**31
        return Sampling(temperature=self.temperature, top_p=self.top_p, seed=seed)

    def what_matters(self) -> dict[str, object]:
        """The settings that decide what is read: all but read-ahead's width, and what the wording itself shows."""
        fields = dataclasses.asdict(self)
        del fields["read_ahead"], fields["answer_form"]
        return fields

    def chunk_bytes(self, model: Model, problem: str) -> int | None:
        """Checks that a turn fits the window; how many bytes a chunk may have where tokens are estimated.

        Raises:
            OptionError: problem, chunk, memory and reply do not fit the model's window together.
        """
        frame = model.prompt_tokens(self.wording().update_prompt(problem, NO_MEMORY, ""))
        room = model.window - frame - 2 * self.memory_tokens - self.thinking_tokens
        # Where tokens are estimated, a chunk may have fewer tokens than asked for: its bytes are bounded.
        asked_too_much = model.tokenizer.exact or self.chunk_tokens > model.window
        least = self.chunk_tokens if asked_too_much else min(self.chunk_tokens, LEAST_BYTES)
        self._check_answer(model, problem)
        if room < least:
            raise OptionError(
                f"chunks of {self.chunk_tokens} tokens do not fit: the window of {model.window} leaves "
                f"{max(room, 0)} beside the problem ({frame} with the prompt) and twice the memory "
                f"({self.memory_tokens}); use smaller --chunk-tokens or --memory-tokens"
            )
        return None if model.tokenizer.exact else room

    def _check_answer(self, model: Model, problem: str) -> None:
        asked: Prompt = self.wording().answer_prompt(problem, NO_MEMORY)
        need = model.prompt_tokens(asked) + self.memory_tokens + self.answer_tokens + self.thinking_tokens
        if need > model.window:
            raise OptionError(
                f"problem, memory and answer need {need} tokens, more than the model's window of "
                f"{model.window}: shorten the problem or use smaller --memory-tokens or --answer-tokens"
            )
