"""Trajectories to imitate before reinforcement begins: the one reader, with an oracle in the policy's place.

The oracle knows a problem's facts and answers. It keeps the memory unless the chunk shows a fact that is not in it, and
so shows what a turn should look like, in the policy's own tokens. It does not know weights, losses or mixtures.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from memagent.errors import InputError, OptionError
from memagent.models.base import Completion, Price, Prompt, Request
from memagent.models.scripted import tagged
from memagent.models.tokenizers import HubTokenizer
from memagent.reading import Settings
from memagent.reading.guard import Guard
from memagent.reading.protocols import NO_MEMORY, protocol_named
from memagent.reading.words import sentences, substance
from memagent.scoring import metric_named
from memagent.tasks.facts import cuts, facts_of
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer
from memagent.training.crossing import Label, Labelled
from memagent.training.experience import Conversation
from memagent.training.sampling import Asked, Made, Sampler, group

# Words that a sentence which looks like a fact has in common with one, and their least share. Of the question's own
# other paragraphs that marks 69% in HotpotQA, 42% in 2Wiki and 37% in MuSiQue, and 2% of distractors.
LEAST, NEAR = 2, 1 / 3


class Refused(InputError):
    """A problem that no trajectory can be made of; says why."""


class OracleModel:
    """Reads one problem, once, as it should be read; see `Model`. Its ids are those that the policy would sample.

    Where a chunk shows a part of a fact, the oracle takes that part, so that the memory holds all in the end.
    """

    name = "oracle"
    price: Price | None = None
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        tokenizer: HubTokenizer,
        problem: Problem,
        answer: str,
        *,
        end_id: int,
        window: int,
        suggests: Mapping[str, str | float] | None = None,
        reply: Literal["add", "write"] = "add",
        astray: float = 0.0,
    ) -> None:
        """`end_id` ends a turn (see `end_of_turn`); `window` and `suggests` are the policy's.

        In the gated protocol the oracle's `reply` adds, or writes the whole memory. With probability `astray` a chunk
        that shows no fact has a sentence of it added, as a policy may err; the places of such calls are in `strayed`.
        """
        if tokenizer.opens_thinking:
            raise OptionError(f"{tokenizer.name} begins each turn by thinking aloud, which a warm start cannot show")
        self.window = window
        self.tokenizer: Tokenizer = tokenizer
        self.special_tokens = tokenizer.special_tokens
        self.suggests: Mapping[str, str | float] = dict(suggests or {})
        self._text, self._facts, self._answer = problem.context, facts_of(problem), answer
        self._end_id = end_id
        self._guard = Guard(tokenizer.special_tokens)
        self._ids = tokenizer
        self._read = 0  # characters of the text that were shown
        self.sections: list[int] = []  # of each call, the ids of the segment that every problem would share
        self.strayed: set[int] = set()
        self._style = reply
        self._astray, self._random = astray, random.Random(f"{problem.id}/{problem.question}/astray")

    @property
    def identity(self) -> dict[str, str]:
        """See `Model.identity`."""
        return {"kind": "oracle", "tokenizer": self.tokenizer.name}

    def prompt_tokens(self, prompt: Prompt) -> int:
        """See `Model.prompt_tokens`; exact."""
        return len(self._ids.chat(prompt))

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`; log-probabilities are 0.

        Raises:
            Refused: prompt and completion do not fit the window; a reading of other chunks is not what is to be shown.
        """
        parts = self._ids.chat_parts(request.prompt)
        prompt = tuple(itertools.chain.from_iterable(parts))
        self.sections.append(len(parts[0]) if request.prompt.shared > 1 else 0)
        if len(prompt) + request.max_tokens > self.window:
            raise Refused(f"a turn does not fit the policy's window of {self.window} tokens: use smaller chunks")
        ids = sampled(self._ids, self._guard.neutralise(self._reply(request))[0], request.one_token, self._end_id)
        said = ids[: request.max_tokens]
        return Completion(
            text=self._ids.decode(said),
            finish="stop" if said == ids else "length",
            prompt_tokens=len(prompt),
            completion_tokens=len(said),
            prompt_ids=prompt,
            token_ids=said,
            logprobs=(0.0,) * len(said),
        )

    async def disconnect(self) -> None:
        """Nothing here belongs to an event loop."""

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _reply(self, request: Request) -> str:
        section, memory = (tagged(request.prompt.text, tag) for tag in ("section", "memory"))
        if section is None:
            return f"\\boxed{{{self._answer}}}"
        known = self._guard.restore(memory or "")
        section = self._guard.restore(section)
        new = "\n".join(self._new(section, known)) or self._error(section, known)
        memory = f"{known}\n{new}" if new and known != NO_MEMORY else new or known
        if request.one_token is None:
            return memory
        if not new:
            return request.one_token
        return f"Add: {new}" if self._style == "add" else f"Write: {memory}"

    def _new(self, section: str, memory: str) -> Iterator[str]:
        """What the section shows of the facts that are not in the memory, in order."""
        start = self._text.find(section, self._read)
        if start < 0:  # half of a surrogate pair, which no prompt can hold
            return
        self._read = end = start + len(section)
        for fact in self._facts:
            shown = self._text[max(start, fact.start) : min(end, fact.end)].strip()
            if fact.start < end and start < fact.end and not holds(memory, fact.text) and shown not in memory:
                memory = f"{memory}\n{shown}"
                yield shown

    def _error(self, section: str, memory: str) -> str:
        """A whole sentence that is no part of a fact, now and then."""
        if self._random.random() >= self._astray:
            return ""
        said = [section[start:end] for start, end in sentences(section)[1:-1]]
        wrong = [one for one in said if one not in memory and not any(one in fact.text for fact in self._facts)]
        if wrong:
            self.strayed.add(len(self.sections) - 1)
        return self._random.choice(wrong) if wrong else ""


def holds(memory: str, fact: str) -> bool:
    """Whether a fact stands in the memory word for word, white space aside."""
    return " ".join(fact.split()) in " ".join(memory.split())


def sampled(tokenizer: HubTokenizer, reply: str, one_token: str | None, end_id: int) -> tuple[int, ...]:
    """A reply's ids as they would be sampled: a word that is a whole reply by itself stops before a turn's end."""
    ids = tuple(tokenizer.encode(reply))
    return ids if reply == one_token and len(ids) == 1 else (*ids, end_id)


def end_of_turn(tokenizer: HubTokenizer, end_ids: Sequence[int]) -> int:
    """Of the ids that end a completion, the one that the chat template puts behind a turn; else the first."""
    tail = tokenizer.chat_parts(Prompt(segments=("", "")))[-1]
    return next((one for one in tail if one in end_ids), end_ids[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """Makes trajectories for a policy: its tokenizer, window and suggestions, how it reads, what ends its turns.

    `metric` is the score that an answer must reach in full (empty: the problem's own); `reply` and `astray` are
    `OracleModel`'s.
    """

    tokenizer: HubTokenizer
    settings: Settings
    window: int
    end_id: int
    suggests: Mapping[str, str | float] = field(default_factory=dict)
    metric: str = ""
    reply: Literal["add", "write"] = "add"
    astray: float = 0.0

    @property
    def keep_ids(self) -> tuple[int, ...]:
        """What is sampled where a turn keeps the memory.

        Raises:
            OptionError: the protocol has no such word.
        """
        word = protocol_named(self.settings.protocol or str(self.suggests.get("protocol", "paper"))).one_token
        if word is None:
            raise OptionError("sections can be asked other problems (warm_start.crossed) in the gated protocol alone")
        return sampled(self.tokenizer, word, word, self.end_id)

    def trajectory(self, problem: Problem) -> list[Labelled]:
        """The turns of one reading, in order, the answer's last. Not for use inside an event loop.

        Turns whose chunk cuts a fact in two are left out: neither keeping nor changing is right there.

        Raises:
            Refused: the problem's facts are not known or the memory would not hold them, or no answer is right.
        """
        facts = facts_of(problem)
        if not facts:
            raise Refused(f"{problem.task}: it is not known on which passages the answer rests")
        model = self._model(problem)
        made = self._read(model, problem)
        self._check(made)
        conversations = group([made], lambda problem, read: {"score": 1.0}).rollouts[0].conversations
        sharing = map(_sharing, conversations, model.sections)
        found, memory, call = [], NO_MEMORY, 0
        for turn in made.read.turns:
            # A chunk of white space is kept without a call.
            for conversation in [next(sharing) for _ in range(turn.calls)]:
                if not cuts(facts, turn.start, turn.end) and call not in model.strayed:
                    section = problem.context[turn.start : turn.end]
                    near = not turn.changed and looks_near(problem, section)
                    label: Label = "change" if turn.changed else "keep"
                    found.append(Labelled(conversation, label, problem, near, section, memory))
                call += 1
            memory = turn.memory
        return [*found, Labelled(next(sharing), "answer", problem)]

    def trajectories(self, problems: Iterable[Problem]) -> tuple[list[Labelled], Counter[str]]:
        """The turns of all problems, and how many problems were refused for what reason."""
        found: list[Labelled] = []
        refused: Counter[str] = Counter()
        for problem in problems:
            try:
                found += self.trajectory(problem)
            except Refused as error:
                refused[str(error)] += 1
        return found, refused

    def _answer(self, problem: Problem) -> str:
        """The first accepted answer; all of them where only that is right in full."""
        metric = metric_named(self.metric or problem.metric)
        for answer in (problem.answers[0], ", ".join(problem.answers)):
            if metric(f"\\boxed{{{answer}}}", problem.answers) == 1.0:
                return answer
        raise Refused(f"{problem.task}: no boxed answer scores in full by {self.metric or problem.metric}")

    def _model(self, problem: Problem) -> OracleModel:
        return OracleModel(
            self.tokenizer, problem, self._answer(problem), end_id=self.end_id, window=self.window,
            suggests=self.suggests, reply=self.reply, astray=self.astray,
        )  # fmt: skip

    def _read(self, model: OracleModel, problem: Problem) -> Made:
        (made,) = asyncio.run(Sampler(model=model, settings=self.settings).read([Asked(problem=problem)]))
        return made

    def _check(self, made: Made) -> None:
        problem, reading = made.problem, made.read.reading
        cut = made.read.cut_off or any(turn.trimmed for turn in made.read.turns)
        if cut:
            raise Refused(f"{problem.task}: its facts or its answer are longer than a turn or the memory may be")
        if not all(holds(reading.memory, fact) for fact in problem.facts):
            raise Refused(f"{problem.task}: the memory does not hold all facts in the end")
        if metric_named(self.metric or problem.metric)(reading.reply, problem.answers) != 1.0:
            raise Refused(f"{problem.task}: its answer does not survive the reading")


def looks_near(problem: Problem, text: str) -> bool:
    """Whether a sentence of `text` has a third of its words in common with the question or a fact."""
    wanted = [_telling(one) for one in (problem.question, *problem.facts)]
    return any(_alike(_telling(text[start:end]), one) for start, end in sentences(text) for one in wanted)


def _telling(text: str) -> set[str]:
    """Words of substance but for numbers, which differ where all else is the same."""
    return {word for word in substance(text) if word.isalpha()}


def _alike(one: set[str], other: set[str]) -> bool:
    return len(one & other) >= max(LEAST, NEAR * min(len(one), len(other)))


def _sharing(conversation: Conversation, section: int) -> Conversation:
    """A turn that shares its section with every other problem that is asked of it."""
    return replace(conversation, shared=section)


def balanced(found: Sequence[Labelled], count: int, changes: float, rng: random.Random) -> list[Labelled]:
    """`count` turns in random order, of which the share `changes` change the memory or answer.

    Of those that keep, half are near-misses where there are so many, so that long stretches of nothing do not crowd
    them out. Where there are too few of a kind, there are more of the others; none is taken twice.
    """
    acting, near, far = ([one for one in found if _kind(one) == kind] for kind in ("acts", "near", "far"))
    for kind in (acting, near, far):
        rng.shuffle(kind)
    keeps = min(count - min(round(count * changes), len(acting)), len(near) + len(far))
    first = max(min(len(near), (keeps + 1) // 2), keeps - len(far))
    picked = [*acting[: count - keeps], *near[:first], *far[: keeps - first]]
    rng.shuffle(picked)
    return picked


def _kind(one: Labelled) -> Literal["acts", "near", "far"]:
    if one.label != "keep":
        return "acts"
    return "near" if one.near else "far"
