"""A question's paragraphs among distractors: RULER-HotpotQA's construction, at any length.

The same index is the same question at every length, and its distractors come in the same order, so a longer
document holds what a shorter one holds (but for what fills its last gap). It does not know datasets.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import NoReturn

from memagent.errors import InputError, OptionError
from memagent.tasks.choosing import Chosen, choose
from memagent.tasks.cutting import enough, fill
from memagent.tasks.measure import Measure, measure_of
from memagent.tasks.problem import Problem
from memagent.tasks.qa.corpus import Corpus, Paragraph, Question
from memagent.tokens import Tokenizer

MAX_TOKENS = 32  # to generate, as RULER's question tasks
CANDIDATES = 400  # distractors that are looked at to fill the last gap
MOST_TRIES = 8
SHORTENED = 20  # distractors that are tried to be shortened
# The frame of RULER's question tasks (NVIDIA/RULER, constants.py).
HEAD = (
    "Answer the question based on the given documents. Only give me the answer and do not output any other words.\n\n"
    "The following are given documents.\n\n"
)
TAIL = (
    "\n\nAnswer the question based on the given documents. Only give me the answer and do not output any other "
    "words.\n\nQuestion: "
)
PREFIX = " Answer:"


def build(
    corpus: Corpus,
    index: int,
    *,
    documents: int | None = None,
    tokens: int | None = None,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    titled: bool = True,
) -> Problem:
    """Question number `index` of a fixed shuffle of the corpus, among distractors, all in random order.

    Either `documents` in all, or as many as fit `tokens` (prompt and tokens to generate, at most 1% below
    and never above). The distractor that would be too long to come so close is shortened at a word, never one
    of the question's own paragraphs; where the distractors run out they are taken again in another order. The
    notes say so. `titled` False leaves titles out, as RULER's SQuAD task does.

    Raises:
        OptionError: both or neither length is given, or the question's own paragraphs do not fit.
        InputError: the corpus has no distractors.
    """
    drawn = _Draw(corpus, index, seed, titled)
    if tokens is None:
        made = drawn.of_documents(_one_length(documents, tokens), tokenizer)
    else:
        made = drawn.of_tokens(_one_length(documents, tokens), _measure(tokenizer))
    return drawn.problem(made, target=tokens, tokenizer=tokenizer)


def fitting(
    corpus: Corpus,
    count: int,
    *,
    documents: int | None = None,
    tokens: int | None = None,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    titled: bool = True,
) -> Chosen:
    """The first `count` numbers of questions whose own paragraphs fit `documents` or `tokens`, as `build` takes them.

    Raises:
        OptionError: both or neither length is given, or no question fits.
    """

    def size(index: int) -> int:
        drawn = _Draw(corpus, index, seed, titled)
        return len(drawn.own) if tokens is None else drawn.least(_measure(tokenizer))

    unit = "documents" if tokens is None else "tokens"
    return choose(corpus.name, len(corpus.questions), count, size, _one_length(documents, tokens), unit)


def _one_length(documents: int | None, tokens: int | None) -> int:
    given = [length for length in (documents, tokens) if length is not None]
    if len(given) != 1:
        raise OptionError("give a number of documents or of tokens, not both")
    return given[0]


def _measure(tokenizer: Tokenizer | None) -> Measure:
    if tokenizer is None:
        raise OptionError("a length in tokens needs a tokenizer")
    return measure_of(tokenizer)


@dataclass(frozen=True, slots=True)
class _Made:
    """The distractors of a problem, the one that was shortened with what it was, and the problem's length."""

    chosen: list[Paragraph]
    length: int | None
    shortened: tuple[Paragraph, Paragraph] | None = None


@lru_cache(maxsize=4)
def _order(total: int, seed: int) -> tuple[int, ...]:
    order = list(range(total))
    random.Random(f"{seed}/questions").shuffle(order)
    return tuple(order)


@dataclass
class _Draw:
    """One question of a corpus with its distractors."""

    corpus: Corpus
    index: int
    seed: int
    titled: bool

    def __post_init__(self) -> None:
        total = len(self.corpus.questions)
        if not 0 <= self.index < total:
            raise OptionError(f"{self.corpus.name} has {total} questions: there is no number {self.index}")
        self.question: Question = self.corpus.questions[_order(total, self.seed)[self.index]]
        self.own: tuple[Paragraph, ...] = self.question.paragraphs
        taken = {paragraph.title for paragraph in self.own}
        self._groups = [[one for one in group if one.title not in taken] for group in self.corpus.distractors]
        self._count = sum(map(len, self._groups))

    def least(self, measure: Measure) -> int:
        """Tokens of the problem without a distractor."""
        return measure.exact(self.prompt([])) + MAX_TOKENS

    def of_documents(self, documents: int, tokenizer: Tokenizer | None) -> _Made:
        """So many documents in all."""
        if documents < len(self.own):
            raise OptionError(f"this question comes with {len(self.own)} documents: {documents} are too few")
        if documents > len(self.own) and not self._count:
            self._no_distractors()
        chosen = list(islice(self._distractors(), documents - len(self.own)))
        return _Made(chosen, None if tokenizer is None else tokenizer.count(self.prompt(chosen)) + MAX_TOKENS)

    def of_tokens(self, tokens: int, measure: Measure) -> _Made:
        """As many documents as come to `tokens`, the last one chosen, or shortened, to leave the least room."""
        chosen, size = self._whole(tokens, measure)
        least = enough(tokens) - MAX_TOKENS
        if size >= least:
            return _Made(chosen, size + MAX_TOKENS)
        if not self._count:
            self._no_distractors()
        return self._shortened(chosen, tokens, measure) or _Made(chosen, size + MAX_TOKENS)

    def _no_distractors(self) -> NoReturn:
        raise InputError(f"{self.corpus.name} has no paragraphs for distractors: name a file with --paragraphs")

    def _whole(self, tokens: int, measure: Measure) -> tuple[list[Paragraph], int]:
        """Distractors as they are, and the tokens of the prompt."""
        budget, empty = tokens - MAX_TOKENS, self.least(measure) - MAX_TOKENS
        if empty > budget:
            raise OptionError(f"this question and its documents need {empty + MAX_TOKENS} tokens: {tokens} are too few")
        best, best_size = list[Paragraph](), empty
        low, high, room = 0, sys.maxsize, budget - empty  # tokens by additive counts: what fits, what does not
        for _ in range(MOST_TRIES):
            chosen, used = self._chosen(room, measure) if room > low else ([], 0)
            if not chosen:
                break
            size = measure.exact(self.prompt(chosen))
            if size > budget:
                high = room
            else:
                best, best_size, low = chosen, size, room
                if size + MAX_TOKENS >= enough(tokens) or room - used > tokens - enough(tokens):
                    break  # close enough, or it is no fault of the counts that it is not
            room = min(high - 1, low + (budget - best_size) * used // max(1, size - empty))
        return best, best_size

    def _chosen(self, room: int, measure: Measure) -> tuple[list[Paragraph], int]:
        """Those that come first and fit, in the place of the last the one that leaves the least room; their tokens."""
        found: list[Paragraph] = []
        used = before = 0
        for paragraph in self._distractors() if self._count else ():
            size = self._size(paragraph, len(self.own) + len(found) + 1, measure)
            if used + size > room:
                break
            before, used = used, used + size
            found.append(paragraph)
        if not found:
            return [], 0
        size, last = self._best(len(found) - 1, room - before, measure)
        return [*found[:-1], last], before + size

    def _best(self, place: int, room: int, measure: Measure) -> tuple[int, Paragraph]:
        ahead = self._ahead(place, CANDIDATES)
        number = len(self.own) + place + 1
        sized = [(self._size(paragraph, number, measure), -at, paragraph) for at, paragraph in enumerate(ahead)]
        size, _, paragraph = max((one for one in sized if one[0] <= room), key=lambda one: one[:2])
        return size, paragraph

    def _shortened(self, chosen: list[Paragraph], tokens: int, measure: Measure) -> _Made | None:
        """With one distractor more that is shortened, or with a shortened one in the place of the last."""
        for kept in (chosen, chosen[:-1]) if chosen else ([],):
            room = tokens - MAX_TOKENS - measure.exact(self.prompt(kept))
            number = len(self.own) + len(kept) + 1
            for paragraph in self._ahead(len(kept), SHORTENED):
                heading = self._size(replace(paragraph, text=""), number, measure)
                needed = room - (tokens - enough(tokens))
                if paragraph in kept[-1:] or heading >= room or 2 * self._size(paragraph, number, measure) < needed:
                    continue  # it stands there, not even its title fits, or all of it would be far too short
                if (found := self._filled(kept, paragraph, tokens, measure)) is not None:
                    return found
        return None

    def _filled(self, kept: list[Paragraph], paragraph: Paragraph, tokens: int, measure: Measure) -> _Made | None:
        def frame(text: str) -> str:
            return self.prompt([*kept, replace(paragraph, text=text)])

        text, size = fill(frame, paragraph.text, tokens - MAX_TOKENS, measure)
        if not text or size + MAX_TOKENS < enough(tokens):
            return None
        cut = replace(paragraph, text=text)
        return _Made([*kept, cut], size + MAX_TOKENS, None if text == paragraph.text else (cut, paragraph))

    def _size(self, paragraph: Paragraph, number: int, measure: Measure) -> int:
        joint = measure.unit("\n\nDocument") + measure.number(len(str(number)), behind=":")
        return joint + measure.unit(f"\n{self._body(paragraph)}")

    def _ahead(self, place: int, most: int) -> Iterator[Paragraph]:
        """The distractors from a place on; none comes again while there are others."""
        end = place + most
        return islice(self._distractors(), place, min(end, self._count) if place < self._count else end)

    def _distractors(self) -> Iterator[Paragraph]:
        """All of them, group by group in random order; then again in another one, without end."""
        turn = 0
        while True:
            rng = random.Random(f"{self.seed}/{self.question.id}/distractors/{turn}")
            for group in self._groups:
                yield from _in_random_order(group, rng)
            turn += 1

    def _body(self, paragraph: Paragraph) -> str:
        return f"{paragraph.title}\n{paragraph.text}" if self.titled and paragraph.title else paragraph.text

    def _shuffled(self, chosen: Sequence[Paragraph]) -> list[Paragraph]:
        every = [*self.own, *chosen]
        random.Random(f"{self.seed}/{self.question.id}/order").shuffle(every)
        return every

    def context(self, chosen: Sequence[Paragraph]) -> str:
        """The documents, numbered from 1 and joined by blank lines."""
        every = enumerate(self._shuffled(chosen), start=1)
        return "\n\n".join(f"Document {number}:\n{self._body(paragraph)}" for number, paragraph in every)

    def prompt(self, chosen: Sequence[Paragraph]) -> str:
        """The whole prompt, whose tokens are counted."""
        return f"{HEAD}{self.context(chosen)}{TAIL}{self.question.question}{PREFIX}"

    def problem(self, made: _Made, *, target: int | None, tokenizer: Tokenizer | None) -> Problem:
        """The problem with these distractors; `target` is the length in tokens that was asked for."""
        question = self.question
        size = target or len(self.own) + len(made.chosen)
        return Problem(
            id=f"{question.id}-{size}",
            task=task_of(self.corpus.name),
            question=question.question,
            answers=question.answers,
            metric="sub_em",
            context=self.context(made.chosen),
            head=HEAD,
            tail=TAIL + question.question,
            answer_prefix=PREFIX,
            max_tokens=MAX_TOKENS,
            length=made.length,
            tokenizer=None if tokenizer is None else tokenizer.name,
            facts=question.facts,
            notes=self._notes(made, target),
        )

    def _notes(self, made: _Made, target: int | None) -> dict[str, object]:
        places = {id(paragraph): number for number, paragraph in enumerate(self._shuffled(made.chosen), start=1)}
        facts = self.question.facts
        notes: dict[str, object] = {
            "dataset": self.corpus.name,
            "question_id": self.question.id,
            "split": self.question.split or "as the file",
            "seed": self.seed,
            "index": self.index,
            "num_docs": len(self.own) + len(made.chosen),
            "gold": sorted(places[id(one)] for one in self.own if any(fact in one.text for fact in facts)),
        }
        if target is not None:
            notes["target"] = target
        if self.question.kind:
            notes["type"] = self.question.kind
        if len(made.chosen) > self._count:
            notes["extended"] = "distractors are repeated, in another order each time"
        if made.shortened is not None:
            cut, whole = (paragraph.text.split() for paragraph in made.shortened)
            number = places[id(made.shortened[0])]
            notes["shortened"] = f"document {number} ends after {len(cut)} of its {len(whole)} words"
        return notes


def _in_random_order(items: Sequence[Paragraph], rng: random.Random) -> Iterator[Paragraph]:
    """Each item once. They are drawn as they are asked for, since most problems take a small part of all."""
    moved: dict[int, int] = {}
    for at in range(len(items)):
        drawn = rng.randrange(at, len(items))
        yield items[moved.get(drawn, drawn)]
        moved[drawn] = moved.get(at, at)


def task_of(dataset: str) -> str:
    """The name of the task that asks a dataset's questions."""
    return "ruler-hqa" if dataset == "hotpotqa" else f"ruler-{dataset}"
