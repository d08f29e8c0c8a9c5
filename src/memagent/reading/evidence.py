"""Which words of a chunk support what a turn put into the memory, found without asking a model.

Each new sentence of the memory is held against the sentences of the chunk: shared words count by how
rare they are in the chunk, and every new number must stand in the quote. What does not reach the bar is
left out, because no evidence is better than wrong evidence. It reads words, not meaning: a memory
that turns a sentence into its opposite is not caught. It does not know models or protocols.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from memagent.documents.base import Chunk
from memagent.reading.result import Evidence, Support
from memagent.reading.words import contains, flat, is_glued, sentences, substance, words

BAR = 0.6  # the share of a memory sentence's weight that its quote must carry
VERBATIM = 0.8  # the same, for a reply that did not follow the protocol
FULL = 5  # different words of a full sentence
LONGEST = 600  # characters of a quote
MOST = 5  # pieces of evidence of a reading

_NUMBER = re.compile(r"\d+")


def supports(chunk: Chunk, names: Sequence[str], before: str, after: str) -> list[Support]:
    """The quotes of `chunk` behind what is in the memory `after` the turn and was not `before` it.

    `names` are the document's source names. At most one quote for each new sentence.
    """
    known = {flat(before[start:end]) for start, end in sentences(before)}
    new = [after[start:end] for start, end in sentences(after) if flat(after[start:end]) not in known]
    if not new:
        return []
    index = _ChunkIndex(chunk.text)
    old_numbers = set(_NUMBER.findall(before))
    found = []
    for sentence in new:
        best = index.best(sentence, set(_NUMBER.findall(sentence)) - old_numbers)
        place = chunk.locate(*best[:2]) if best else None
        if best and place:
            quote = chunk.text[best[0] : best[1]]
            evidence = Evidence(quote, names[place.source], place.page, place.start, place.end)
            found.append(Support(evidence, sentence, best[2]))
    return found


def grounded(chunk: Chunk, names: Sequence[str], problem: str, memory: str, reply: str) -> str:
    """The sentences of a malformed `reply` that may be trusted: those the chunk says in nearly the same words.

    Each is a full sentence, new to `memory`, and speaks of the problem: they share half of their words of
    substance. All others are dropped, so that what a model makes up changes nothing.
    """
    kept = []
    for support in supports(chunk, names, memory, reply):
        told = set(words(support.sentence))
        if support.share >= VERBATIM and len(told) >= FULL and _speaks_of(support.sentence, problem):
            kept.append(support.sentence)
    return "\n".join(kept)


class _ChunkIndex:
    """The sentences of a chunk, with the words of each and what each word weighs."""

    def __init__(self, text: str) -> None:
        self._spans = sentences(text)
        self._flat = [flat(text[start:end]) for start, end in self._spans]
        self._words = [frozenset(sentence.split()) for sentence in self._flat]
        self._numbers = [frozenset(_NUMBER.findall(text[start:end])) for start, end in self._spans]
        self._spread = Counter(word for sentence in self._words for word in sentence)

    def _weight(self, word: str) -> float:
        return math.log(1 + len(self._spans) / (1 + self._spread[word])) + 0.05

    def best(self, sentence: str, numbers: set[str]) -> tuple[int, int, float] | None:
        """The one or two neighbouring sentences that carry most of `sentence`, with their share.

        Those that say it word for word come first, then the shorter and the earlier.
        """
        said, wanted = f" {flat(sentence)} ", set(words(sentence))
        total = sum(map(self._weight, wanted))
        best: tuple[bool, float, int, int, int] | None = None
        for first in range(len(self._spans)):
            for last in range(first, min(first + 2, len(self._spans))):
                share = self._share(first, last, wanted, numbers) / total if total else 0.0
                length = self._spans[last][1] - self._spans[first][0]
                # A second sentence must earn its place, hence the small fee on it.
                whole = said in f" {' '.join(self._flat[first : last + 1])} "
                score = (whole, share - 0.1 * (last - first), -length, -first, -last)
                if share >= BAR and length <= LONGEST and (best is None or score > best):
                    best = score
        if best is None:
            return None
        first, last = -best[3], -best[4]
        share = self._share(first, last, wanted, numbers) / total
        return self._spans[first][0], self._spans[last][1], share

    def _share(self, first: int, last: int, wanted: set[str], numbers: set[str]) -> float:
        there = frozenset().union(*self._words[first : last + 1])
        if not numbers <= frozenset().union(*self._numbers[first : last + 1]):
            return 0.0
        shared = wanted & there
        # One shared word is a coincidence unless it is all there is to share.
        if len(shared) < min(2, len(wanted)):
            return 0.0
        return sum(map(self._weight, shared))


def choose(found: Iterable[Support], *, problem: str, memory: str, answer: str) -> tuple[Evidence, ...]:
    """The evidence of an answer: quotes that contain it first, then those that led to it.

    A quote led to the answer if the memory sentence it supports is still in the final memory, and
    speaks of the problem or of the answer: they share half of their words of substance. An answer such
    as "7" or "No" stands in many a sentence, so that only a sentence about the problem led to it.
    """
    kept, distinctive = set(words(memory)), _is_distinctive(answer)
    ranked: dict[tuple[str, int, int], tuple[tuple[int, float], Evidence]] = {}
    for support in found:
        told = set(words(support.sentence))
        bears = _bears(support.evidence.quote, answer)
        remembered = len(told & kept) >= BAR * len(told)
        about_answer = distinctive and _speaks_of(support.sentence, answer)
        led = remembered and (about_answer or _speaks_of(support.sentence, problem))
        if led or (bears and distinctive):
            rank = (int(bears), support.share)
            spot = (support.evidence.source, support.evidence.start, support.evidence.end)
            if spot not in ranked or ranked[spot][0] < rank:
                ranked[spot] = (rank, support.evidence)
    best = sorted(ranked.values(), key=lambda pair: pair[0], reverse=True)
    if len(set(words(answer))) >= FULL and best and best[0][0][0]:
        # An answer that is a sentence of the document needs no other one to have led to it.
        best = [pair for pair in best if pair[0][0]]
    return tuple(evidence for _, evidence in best[:MOST])


def _is_distinctive(answer: str) -> bool:
    """Whether an answer is more than a number, yes, no or another short word."""
    telling = substance(answer)
    return len(telling) > 1 or any(is_glued(word) or (len(word) > 3 and not word.isdigit()) for word in telling)


def _bears(quote: str, answer: str) -> bool:
    """Whether a quote contains the answer: word for word, or nearly so where the answer is a sentence."""
    replied = set(words(answer))
    nearly = len(replied) >= FULL and len(replied & set(words(quote))) >= VERBATIM * len(replied)
    return nearly or contains(quote, answer)


def _speaks_of(sentence: str, text: str) -> bool:
    """Whether the smaller of two texts has half of its words of substance in the other."""
    one, other = substance(sentence), substance(text)
    return bool(one and other) and 2 * len(one & other) >= min(len(one), len(other))
