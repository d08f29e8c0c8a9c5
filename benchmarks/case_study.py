"""The paper's case study as a measurement: five things a memory must do, each asked many times over generated texts.

pre-emptive     keeps what only a later chunk proves useful
update          lets a later fact take the place of an earlier one
distractors     is not taken in by the same sentence about others
interference    keeps two topics apart
order           knows which of two things came first

    python benchmarks/case_study.py runs/case-study.jsonl --samples 20 --tokens 4k
    memagent eval runs/case-study.jsonl --limit 20 -o runs/case-study

Facts stand at different eighths of a text of Python's language reference, so that chunks of an eighth part them. Names
are invented, so that no model knows them.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from measuring import plainly
from memagent.cli.options import Tokens
from memagent.errors import OptionError
from memagent.models.tokenizers import load_tokenizer
from memagent.tasks import jsonl
from memagent.tasks.haystacks import haystack
from memagent.tasks.problem import Problem

PARTS = 8  # of a text, between which facts may stand
OTHERS = 3  # sentences of the same kind about others

Case = tuple[str, tuple[str, ...], list[str], list[str]]  # question, answers, facts in order, sentences that mislead

_HEADS = ("Bel", "Cor", "Dan", "Fen", "Gar", "Hol", "Jor", "Kel", "Lor", "Mar", "Nor", "Pel", "Ros", "Tor", "Vel")
_TAILS = ("aby", "ade", "amir", "anth", "asken", "elin", "enno", "erith", "idon", "ilda", "imar", "ost", "ova", "und")


def names(rng: random.Random) -> Iterator[str]:
    """Invented names, each once."""
    found = [head + tail for head, tail in itertools.product(_HEADS, _TAILS)]
    rng.shuffle(found)
    return iter(found)


def pre_emptive(name: Iterator[str], rng: random.Random) -> Case:
    """Where somebody was born is told before the text says that it is about them."""
    founder, town, place = next(name), next(name), next(name)
    born = f"{founder} was born in the town of {town}."
    founded = f"The observatory of {place} was founded by {founder}."
    others = [f"{next(name)} was born in the town of {next(name)}." for _ in range(OTHERS)]
    others += [f"The mill of {next(name)} was founded by {next(name)}." for _ in range(OTHERS)]
    return f"In which town was the founder of the observatory of {place} born?", (town,), [born, founded], others


def update(name: Iterator[str], rng: random.Random) -> Case:
    """An office changes hands."""
    place, first, last = next(name), next(name), next(name)
    facts = [
        f"The keeper of the lighthouse at {place} is {first}.",
        f"{first} has left, and the keeper of the lighthouse at {place} is now {last}.",
    ]
    others = [f"The keeper of the lighthouse at {next(name)} is {next(name)}." for _ in range(OTHERS)]
    return f"Who is the keeper of the lighthouse at {place} in the end?", (last,), facts, others


def distractors(name: Iterator[str], rng: random.Random) -> Case:
    """The same is said of many others."""
    place, bell = next(name), rng.randrange(1_000, 10_000)
    others = [f"The bell of {next(name)} weighs {rng.randrange(1_000, 10_000)} pounds." for _ in range(3 * OTHERS)]
    fact = f"The bell of {place} weighs {bell} pounds."
    return f"How many pounds does the bell of {place} weigh?", (str(bell),), [fact], others


def interference(name: Iterator[str], rng: random.Random) -> Case:
    """Two things are asked, and said far from each other, with crossed ones between them."""
    one, two, river, crop = (next(name) for _ in range(4))
    facts = [f"The river through {one} is called the {river}.", f"The people of {two} grow {crop} and nothing else."]
    others = [f"The river through {two} is called the {next(name)}.", f"The people of {one} grow {next(name)}."]
    question = f"What is the river through {one} called, and what do the people of {two} grow?"
    return question, (river, crop), facts, others


def order(name: Iterator[str], rng: random.Random) -> Case:
    """Two years are told in either order."""
    one, two = next(name), next(name)
    early, late = sorted(rng.sample(range(1500, 1900), 2))
    facts = [f"The bridge of {one} was built in {early}.", f"The bridge of {two} was built in {late}."]
    rng.shuffle(facts)
    others = [f"The bridge of {next(name)} was built in {rng.randrange(1500, 1900)}." for _ in range(OTHERS)]
    asked = [one, two]
    rng.shuffle(asked)
    return f"Which bridge was built first, that of {asked[0]} or that of {asked[1]}?", (one,), facts, others


CASES: Mapping[str, Callable[[Iterator[str], random.Random], Case]] = {
    "pre-emptive": pre_emptive,
    "update": update,
    "distractors": distractors,
    "interference": interference,
    "order": order,
}


def text(said: list[str], others: list[str], hay: list[str], rng: random.Random) -> str:
    """Hay with `said` in order, each at the beginning of another part, and `others` anywhere.

    Raises:
        OptionError: there is too little hay for that.
    """
    if len(hay) < PARTS:
        raise OptionError(f"{len(hay)} sentences of the text are too few to part facts: give more --tokens")
    places = sorted(rng.sample(range(1, PARTS), len(said)))
    at = {round(place * len(hay) / PARTS): [fact] for place, fact in zip(places, said, strict=True)}
    for other in others:
        at.setdefault(rng.randrange(1, len(hay)), []).append(other)
    return " ".join(part for number, one in enumerate(hay) for part in (*at.get(number, ()), one))


def problems(samples: int, tokens: int, seed: int) -> Iterator[Problem]:
    """`samples` problems of each kind, over texts of about so many tokens."""
    tokenizer = load_tokenizer("smollm2-135m")
    sentences = haystack("report").sentences
    for kind, make in CASES.items():
        for number in range(samples):
            rng = random.Random(f"{seed}/{kind}/{number}")
            question, answers, facts, others = make(names(rng), rng)
            first = rng.randrange(len(sentences))
            hay, used = [], sum(map(tokenizer.count, (*facts, *others)))
            for sentence in itertools.chain(sentences[first:], itertools.cycle(sentences)):
                used += tokenizer.count(" " + sentence)
                if used > tokens:
                    break
                hay.append(sentence)
            yield Problem(
                id=f"{kind}-{seed}-{number}",
                task=kind,
                question=question,
                answers=answers,
                metric="ruler_all" if len(answers) > 1 else "em",
                context=text(facts, others, hay, rng),
                facts=tuple(facts),
            )


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--tokens", default="4k", help="of each text (default: 4k)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.samples < 1:
        raise OptionError(f"--samples must be at least 1, not {given.samples}")
    given.file.parent.mkdir(parents=True, exist_ok=True)
    tokens = Tokens().convert(given.tokens, None, None)
    print(f"{jsonl.write(given.file, problems(given.samples, tokens, given.seed))} problems in {given.file}")


if __name__ == "__main__":
    plainly(main)
