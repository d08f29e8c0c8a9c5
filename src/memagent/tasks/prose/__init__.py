"""Facts told in plain prose: hidden in a text, among others of the same kind, and asked in nearly their own words.

Where RULER's needles are all one sentence, these are many: who painted what, on which port a server listens, where a
key lies. Some questions call a person by what another fact says of them, and so need two. Everything is invented. It
serves for training; what it reports about is the trainer's validation alone.
"""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memagent.errors import OptionError
from memagent.tasks.haystacks import haystack as text_of
from memagent.tasks.problem import Problem
from memagent.tasks.prose.fillers import Fillers
from memagent.tasks.prose.relations import RELATIONS, Ask, Relation
from memagent.tokens import Tokenizer

LEAST = 300  # tokens that a problem needs
OTHERS = (2, 8)  # facts that mislead: of the same kind, or about the same
TWO = 0.25  # the share of questions that need two facts
PARAGRAPH = (2, 8)  # sentences of a paragraph
COLUMNS = (60, 80)  # of the lines of half of the texts


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with its answer, the facts behind it and facts that mislead, as sentences."""

    question: str
    answer: str
    facts: tuple[str, ...]
    others: tuple[str, ...]


def sample(
    tokens: int,
    *,
    tokenizer: Tokenizer,
    seed: int = 0,
    index: int = 0,
    haystack: str = "report",
    anywhere: bool = False,
) -> Problem:
    """One problem over a text of about so many tokens.

    The same `seed` and `index` ask the same at every length. `haystack` and `anywhere` are `ruler.sample`'s.

    Raises:
        OptionError: `tokens` are too few.
        DocumentError, SetupError: as `haystacks.haystack`.
    """
    if tokens < LEAST:
        raise OptionError(f"facts in prose need at least {LEAST} tokens, not {tokens}")
    rng = random.Random(f"prose/{seed}/{index}")
    asked = _asked(rng)
    sentences = text_of(haystack).sentences
    first = rng.randrange(len(sentences)) if anywhere else 0
    hay = list(_hay(sentences, first, tokens - sum(map(tokenizer.count, (*asked.facts, *asked.others))), tokenizer))
    context = _laid_out(_hidden(hay, [*asked.facts, *asked.others], rng), rng)
    return Problem(
        id=f"prose-{tokens}-{seed}-{index}",
        task="prose",
        question=asked.question,
        answers=(asked.answer,),
        metric="contains",
        context=context,
        facts=tuple(_as_it_stands(fact, context) for fact in asked.facts),
        notes={"seed": seed, "index": index, "target": tokens, "hops": len(asked.facts)},
    )


def _asked(rng: random.Random) -> _Asked:
    fill = Fillers(rng)
    relation = rng.choice(RELATIONS)
    if relation.about_person and rng.random() < TWO:
        return _of_two(relation, fill, rng)
    values = fill.all(relation.slots)
    slot, question = _question(relation, rng)
    facts = (relation.said(values, rng),)
    return _Asked(question.filled(values), values[slot], facts, tuple(_others(relation, values, slot, fill, rng)))


def _of_two(relation: Relation, fill: Fillers, rng: random.Random) -> _Asked:
    """The person whom `relation` is about is called by what another one says of them."""
    calling = rng.choice([one for one in RELATIONS if one.calls and one is not relation])
    values = fill.all(calling.slots)
    known = {**fill.all(relation.slots), "person": values["person"]}
    asks = [(slot, ask) for slot, ask in relation.asks if slot != "person" and "{person}" in ask.text]
    slot, ask = rng.choice(asks)
    described = rng.choice(calling.calls).filled(values)
    facts = [calling.said(values, rng), relation.said(known, rng)]
    rng.shuffle(facts)
    others = [*_others(relation, known, slot, fill, rng), *_others(calling, values, "person", fill, rng)]
    question = ask.filled({**known, "person": described})
    return _Asked(question, known[slot], tuple(facts), tuple(others[: OTHERS[1]]))


def _question(relation: Relation, rng: random.Random) -> tuple[str, Ask]:
    slot = rng.choice(sorted({slot for slot, _ in relation.asks}))
    return slot, rng.choice([ask for one, ask in relation.asks if one == slot])


def _others(relation: Relation, values: dict[str, str], slot: str, fill: Fillers, rng: random.Random) -> Iterator[str]:
    """The same said of others, and other things said of the same."""
    for _ in range(rng.randint(*OTHERS)):
        if rng.random() < 0.6:
            yield relation.said(fill.all(relation.slots), rng)
            continue
        other = rng.choice([one for one in RELATIONS if one is not relation])
        same = {name: value for name, value in values.items() if name in other.slots and name != slot}
        yield other.said({**fill.all(other.slots), **same}, rng)


def _hay(sentences: Sequence[str], first: int, budget: int, tokenizer: Tokenizer) -> Iterator[str]:
    """Sentences from number `first` on, over the end to the start again, as long as the budget lasts."""
    at = first
    while (budget := budget - tokenizer.count(sentences[at % len(sentences)]) - 1) > 0:
        yield sentences[at % len(sentences)]
        at += 1


def _hidden(hay: Sequence[str], said: Sequence[str], rng: random.Random) -> list[str]:
    places = sorted(((rng.randint(0, len(hay)), number) for number in range(len(said))), reverse=True)
    found = list(hay)
    for place, number in places:
        found.insert(place, said[number])
    return found


def _laid_out(sentences: Sequence[str], rng: random.Random) -> str:
    """Paragraphs; in half of the texts of lines that are broken at so many columns."""
    columns = rng.randint(*COLUMNS) if rng.random() < 0.5 else None
    paragraphs, at = [], 0
    while at < len(sentences):
        size = rng.randint(*PARAGRAPH)
        paragraph = " ".join(" ".join(sentences[at : at + size]).split())
        paragraphs.append(
            textwrap.fill(paragraph, columns, break_long_words=False, break_on_hyphens=False) if columns else paragraph
        )
        at += size
    return "\n\n".join(paragraphs)


def _as_it_stands(fact: str, context: str) -> str:
    """A fact with the white space that it has in the text."""
    found = re.search(r"\s+".join(map(re.escape, fact.split())), context)
    assert found is not None
    return found[0]
