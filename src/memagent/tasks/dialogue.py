"""Questions over a long dialogue history: a user tells things about themselves, some of which change later.

Generated: facts stand among small talk about sentences of a haystack. The question asks for the newest
value, so an older one is a wrong answer. It does not know who answers.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from functools import partial

from memagent.errors import OptionError
from memagent.tasks.choosing import Chosen, choose
from memagent.tasks.cutting import enough, fill
from memagent.tasks.haystacks import haystack
from memagent.tasks.measure import Measure, measure_of
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer

MAX_TOKENS = 32  # to generate
TURNS_PER_SESSION = 12
CANDIDATES = 100  # sentences that are tried to be shortened
SPARE = 2  # as many dialogues are looked at for each that is asked for
HEAD = "This is the history of a chat between a user and an assistant.\n\n"
TAIL = "\n\nQuestion: {question}\nAnswer with the newest value only.\nAnswer:"

# What is told, what is asked, and the values it is drawn from.
_TOPICS = (
    ("My cat is called {}.", "What is the user's cat called?", "Miso Biscuit Pepper Juno Clover Domino Waffle Nimbus"),
    ("I work as a {}.", "What does the user work as?", "welder librarian surveyor florist mason notary pilot tailor"),
    ("I live in {}.", "Where does the user live?", "Tartu Braga Ghent Lviv Turku Bergen Graz Vilnius"),
    ("My favourite dish is {}.", "What is the user's favourite dish?", "ramen paella pierogi goulash laksa risotto"),
    (
        "My sister is called {}.",
        "What is the user's sister called?",
        "Ingrid Paloma Yara Noemi Saskia Imke Dalia Renata",
    ),
    ("I drive a {} car.", "Which colour is the user's car?", "turquoise maroon beige purple silver olive"),
    ("I play the {}.", "Which instrument does the user play?", "oboe banjo harp cello trombone accordion"),
    (
        "My flight leaves on {}.",
        "On which day does the user's flight leave?",
        "Monday Tuesday Wednesday Thursday Friday",
    ),
)
_CHANGED = "By the way, that has changed: "
_TALK = ('I read this today: "{}" What do you make of it?', "I see what you mean. It depends on where it stands.")
_HEARD = "Thanks, I will keep that in mind."


@dataclass(frozen=True, slots=True)
class _Told:
    """A fact as it is told, at `depth` (0 to 1) of the history."""

    depth: float
    text: str


@dataclass(frozen=True, slots=True)
class _Last:
    """The exchange behind `turns` others, about a `part` of a `whole` sentence; `size` are the prompt's tokens."""

    turns: int
    size: int
    part: str
    whole: str


def sample(*, tokens: int, tokenizer: Tokenizer, seed: int = 0, index: int = 0, source: str | None = None) -> Problem:
    """One history of at most `tokens` (prompt and tokens to generate), and a question about its user.

    `source` is the text of the small talk: `report` (the default), `train` or a file. It is repeated from its
    start where it runs out, and its last sentence is shortened at a word; the notes say so.

    Raises:
        OptionError: `tokens` are too few.
        DocumentError: the file cannot be read.
    """
    measure = measure_of(tokenizer)
    made = _Made(source or "report", seed, index)
    if (least := made.least(measure)) > tokens:
        raise OptionError(f"this dialogue needs {least} tokens: {tokens} are too few")
    turns, size = made.turns(tokens, measure)
    last = None if size + MAX_TOKENS >= enough(tokens) else made.shortened(turns, tokens, measure)
    if last is not None:
        turns, size = last.turns, last.size
    part = "" if last is None else last.part
    return Problem(
        id=f"dialogue-{tokens}-{seed}-{index}",
        task="dialogue",
        question=made.question,
        answers=(made.answer,),
        metric="contains",
        context=made.context(turns, part),
        head=HEAD,
        tail=made.tail,
        max_tokens=MAX_TOKENS,
        length=size + MAX_TOKENS,
        tokenizer=tokenizer.name,
        facts=(made.newest,),
        notes={"seed": seed, "index": index, "target": tokens, **made.notes(turns, last)},
    )


def fitting(count: int, *, tokens: int, tokenizer: Tokenizer, source: str | None = None, seed: int = 0) -> Chosen:
    """The numbers of the first `count` dialogues whose facts fit `tokens`.

    Raises:
        OptionError: none does.
        DocumentError: the file of the small talk cannot be read.
    """
    measure, text = measure_of(tokenizer), source or "report"
    return choose(
        "dialogue", SPARE * count, count, lambda index: _Made(text, seed, index).least(measure), tokens, "tokens"
    )


class _Made:
    def __init__(self, source: str, seed: int, index: int) -> None:
        rng = random.Random(f"{seed}/dialogue/{index}")
        self.text = haystack(source)
        self._start = rng.randrange(len(self.text.sentences))
        asked = rng.randrange(len(_TOPICS))
        self.question, self.values = "", list[str]()
        self.newest, self.answer = "", ""
        self._told: list[_Told] = []
        for number, (telling, question, values) in enumerate(_TOPICS):
            drawn = rng.sample(values.split(), rng.choice((1, 2, 3)))
            depths = sorted(rng.random() for _ in drawn)
            texts = [(_CHANGED if at else "") + telling.format(value) for at, value in enumerate(drawn)]
            self._told += map(_Told, depths, texts)
            if number == asked:
                self.question, self.values, self.newest, self.answer = question, drawn, texts[-1], drawn[-1]
        self.tail = TAIL.format(question=self.question)

    def least(self, measure: Measure) -> int:
        """Tokens of the problem without small talk."""
        return measure.exact(self.prompt(0)) + MAX_TOKENS

    def turns(self, tokens: int, measure: Measure) -> tuple[int, int]:
        """How many exchanges of small talk come to at most `tokens`, and the prompt's tokens: all but 1% of what
        is asked for, or the most exchanges that fit."""
        budget = tokens - MAX_TOKENS
        low, low_size = 0, measure.exact(self.prompt(0))
        high, mean = sys.maxsize, self._mean(budget - low_size, measure)
        while high - low > 1 and low_size + MAX_TOKENS < enough(tokens):
            guess = min(high - 1, low + max(1, int((budget - low_size) / mean)))
            size = measure.exact(self.prompt(guess))
            mean = max(1.0, (size - low_size) / (guess - low))
            if size <= budget:
                low, low_size = guess, size
            else:
                high = guess
        return low, low_size

    def shortened(self, turns: int, tokens: int, measure: Measure) -> _Last | None:
        """One more exchange, or another in the place of the last, about as much of a sentence as fits."""
        budget = tokens - MAX_TOKENS
        for kept in (turns, turns - 1) if turns else (turns,):
            empty = measure.exact(self.prompt(kept, "x"))  # no exchange is about nothing
            for whole in map(self.sentence, range(kept, kept + CANDIDATES if empty < budget else kept)):
                if measure.unit(whole) < enough(tokens) - MAX_TOKENS - empty:
                    continue  # too short
                part, size = fill(partial(self.prompt, kept), whole, budget, measure, empty=empty)
                if part and size + MAX_TOKENS >= enough(tokens):
                    return _Last(kept, size, part, whole)
        return None

    def _mean(self, room: int, measure: Measure) -> float:
        """Tokens of an exchange, by additive counts of those that fit."""
        heading = measure.unit("\n\nSession 100\n") / TURNS_PER_SESSION
        used, count = 0.0, 0
        while used < room or not count:
            used += measure.unit("\n" + self._talk(self.sentence(count))) + heading
            count += 1
        return used / count

    def prompt(self, turns: int, part: str = "") -> str:
        """The whole prompt, whose tokens are counted."""
        return f"{HEAD}{self.context(turns, part)}{self.tail}"

    def context(self, turns: int, part: str = "") -> str:
        """So many exchanges with the facts among them, and one more about a part of a sentence; in sessions."""
        exchanges = [self._talk(self.sentence(at)) for at in range(turns)]
        for one in sorted(self._told, key=lambda told: told.depth, reverse=True):
            exchanges.insert(int(one.depth * turns), _exchange(one.text, _HEARD))
        if part:
            exchanges.append(self._talk(part))
        sessions = (exchanges[at : at + TURNS_PER_SESSION] for at in range(0, len(exchanges), TURNS_PER_SESSION))
        texts = (f"Session {number}\n" + "\n".join(session) for number, session in enumerate(sessions, start=1))
        return "\n\n".join(texts)

    def sentence(self, at: int) -> str:
        """What the exchange number `at` of small talk is about."""
        return self.text.sentences[(self._start + at) % len(self.text.sentences)]

    def notes(self, turns: int, last: _Last | None) -> dict[str, object]:
        """How the history was made."""
        total = turns + (last is not None)
        notes: dict[str, object] = {"values": self.values, "turns": total, "haystack": self.text.name}
        notes["haystack_sha256"] = self.text.fingerprint
        if last is not None and last.part != last.whole:
            cut, words = len(last.part.split()), len(last.whole.split())
            notes["shortened"] = f"the last sentence talked about ends after {cut} of its {words} words"
        if total > len(self.text.sentences):
            notes["extended"] = "the text of the small talk is repeated from its start"
        return notes

    def _talk(self, sentence: str) -> str:
        return _exchange(_TALK[0].format(sentence), _TALK[1])


def _exchange(user: str, assistant: str) -> str:
    return f"User: {user}\nAssistant: {assistant}"
