"""Sentence by sentence: what is taken of a section that a model has something to add from."""

import asyncio
import gc
import math
from dataclasses import replace

import pytest

from memagent import Reader, open_document
from memagent.errors import BudgetSpent, StoppedError, TurnRefused
from memagent.models import ScriptedModel
from memagent.models.base import Price
from memagent.models.scripted import tagged
from memagent.reading import Journal, Settings
from memagent.reading.following import follow
from memagent.reading.protocols import NO_MEMORY
from memagent.reading.sieve import Sieve
from memagent.reading.words import sentences

OPENING, KEY, DOOR = "The mill stands by the river.", "The key lies under the stair.", "The door has two locks."
SECTION = f"{OPENING} {KEY}\n\n{DOOR} Nobody\nhas seen the owner."


def sieve(sure, section=SECTION, least=0.9):
    """A sieve whose model is as sure as `sure` says, and what it was asked."""
    asked = []

    async def ask(line, memory, attempt):
        asked.append((line, memory))
        return sure(line, memory) if callable(sure) else sure.get(line, 0.0)

    return Sieve(section, ask, least), asked


def take(found, added=(), memory=NO_MEMORY):
    return asyncio.run(found.take(added, memory))


def test_each_sentence_is_asked_about_alone():
    found, asked = sieve({KEY: 0.95, DOOR: 0.89})
    assert take(found) == {KEY: 0.95}
    assert asked == [(line, NO_MEMORY) for line in (OPENING, KEY, DOOR, "Nobody", "has seen the owner.")]
    assert found.calls == len(asked)


def test_what_the_model_added_is_left_where_a_sentence_of_its_own_does_not_help():
    found, _ = sieve({KEY: 0.95})
    assert take(found, [OPENING], "It is night.") == {KEY: 0.95}
    assert take(sieve({})[0], [OPENING]) == {}


def test_a_word_takes_no_sentences_place():
    several = "The key is of iron. The key is heavy."
    found, _ = sieve(lambda line, memory: 0.95, several)
    assert list(take(found, ["The key is"])) == ["The key is of iron.", "The key is heavy."]  # it is a part of both
    found, _ = sieve(lambda line, memory: 0.95, KEY)
    assert list(take(found, ["key"])) == [KEY]
    found, _ = sieve(lambda line, memory: 0.95, KEY)
    assert list(take(found, ["The key lies under"])) == [KEY]  # its beginning lacks what matters
    number = "The key has the number 5930217."
    found, _ = sieve(lambda line, memory: 0.95, number)
    assert number in take(found, [number[:-4]])  # half a number is no part


@pytest.mark.parametrize(("sure", "taken"), [(0.985, "under the stair."), (0.95, KEY)])
def test_a_part_of_a_sentence_takes_its_place_if_it_is_as_sure(sure, taken):
    found, _ = sieve({KEY: 0.99, "under the stair.": sure})
    assert list(take(found, ["under\nthe stair."])) == [taken]


def test_of_what_overlaps_the_surer_is_taken():
    found, _ = sieve({KEY: 0.91, f"{OPENING} {KEY}": 0.93})
    assert list(take(found, [f"{OPENING}\n{KEY}"])) == [f"{OPENING} {KEY}"]


def test_what_speaks_of_the_memory_is_asked_about_with_it():
    """A chain, of which a link says nothing without the one before."""
    chain = ["VAR A = 7", "VAR B = VAR A", "VAR C = VAR B"]

    def sure(line, memory):
        return 0.95 if line == chain[0] or line[-5:] in memory else 0.01

    found, _ = sieve(sure, "\n".join(["Here we go.", *chain]))
    assert list(take(found, chain)) == chain
    later, asked = sieve(sure, "\n".join(["Here we go.", *chain[1:]]))
    assert list(take(later, chain[1:], chain[0])) == chain[1:]
    assert asked[-2:] == [(chain[1], chain[0]), (chain[2], "\n".join(chain[:2]))]
    alone, asked = sieve(sure, chain[1])
    assert take(alone, chain[1:2]) == {} and len(asked) == 1  # there is no memory that it could speak of


def test_nothing_is_asked_or_taken_twice():
    found, asked = sieve({KEY: 0.95, DOOR: 0.95})
    assert list(take(found)) == [KEY, DOOR]
    many = len(asked)
    assert take(found, [KEY], KEY) == {} and len(asked) == many
    again, _ = sieve({KEY: 0.95, DOOR: 0.95})
    assert list(take(again, [], f"It is night.\n{KEY}")) == [DOOR]


TALK = " It was a quiet year, and little was heard of them."
TEXT = f"{OPENING}{TALK} {KEY} They say that it was never used. {DOOR}{TALK}"
HELD = Settings(protocol="gated", chunk_tokens=200, memory_tokens=40, gate=0.8, sift=0.9)


class Careless(ScriptedModel):
    """Adds the beginning of any text that holds what it is surely `of`, or in part; it is sure of `also` less."""

    def __init__(self, of=(KEY,), also=(), refused="", stops=False, **more):
        super().__init__(self.reply, **more)
        self.of, self.also, self.refused, self.stops, self.shown = of, also, refused, stops, []

    def reply(self, request):
        section = tagged(request.prompt.text, "section")
        self.shown.append(section)
        if section is None:
            if self.stops:
                raise StoppedError("enough")
            return "\\boxed{under the stair}"
        if self.refused and section == self.refused:
            raise TurnRefused("no")
        helps = any(line in section for line in (*self.of, *self.also))
        return f"Add: {section.strip().split('.')[0]}." if helps else "Keep"

    async def generate(self, request):
        completion = await super().generate(request)
        sure = 0.85 if any(completion.text.removeprefix("Add: ") in line for line in self.also) else 0.97
        return replace(completion, logprobs=(math.log(sure),) if request.logprobs else None)


def read(model, settings=HELD, text=TEXT, journal=None):
    reader = Reader(model, settings, journal=journal)
    return reader.read_sync(open_document(text=text), "Where is the key?", resume=True)


def test_a_careless_copy_is_mended():
    assert read(Careless(), replace(HELD, sift=0.0)).memory == OPENING
    held = read(model := Careless())
    assert held.memory == KEY and held.evidence[0].quote == KEY
    assert (held.tally.changed, held.tally.doubted, held.tally.vain) == (1, 0, 0)
    assert held.usage.model_calls == len(model.shown) == 1 + len(sentences(TEXT)) + 1
    assert all(len(shown) < 60 for shown in model.shown[1:-1])


def test_the_sieve_needs_no_gate():
    held = read(Careless(of=(DOOR,), also=(KEY,)), replace(HELD, gate=0.0))
    assert held.memory == DOOR and not held.notes


def test_without_probabilities_the_word_decides():
    class Silent(Careless):
        async def generate(self, request):
            return replace(await super().generate(request), logprobs=None)

    held = read(Silent(also=(DOOR,)))
    assert held.memory == f"{KEY}\n{DOOR}" and "told no probability" in held.notes[-1]


def test_nothing_is_added_where_no_sentence_is_sure_enough():
    held = read(Careless(of=(), also=(KEY,)))
    assert held.memory == NO_MEMORY and (held.tally.changed, held.tally.doubted) == (0, 1)


def test_all_that_is_sure_enough_is_added_at_once_and_the_rest_is_read():
    held = read(model := Careless(of=(KEY, DOOR)), replace(HELD, reread=True))
    assert held.memory == f"{KEY}\n{DOOR}"
    rest = model.shown[-2]
    assert KEY not in rest and DOOR not in rest and OPENING in rest
    assert held.usage.model_calls == len(model.shown) and held.tally.vain == 0


def test_a_sentence_that_is_refused_twice_is_not_added():
    held = read(model := Careless(of=(KEY, DOOR), refused=KEY))
    assert held.memory == DOOR and held.coverage.failed == 0
    assert model.shown.count(KEY) == 2 and held.tally.vain == 0


def test_what_was_added_stays_where_no_sentence_that_may_be_looked_at_helps():
    held = read(Careless(of=(KEY,), refused=KEY))
    assert held.memory == OPENING and held.tally.doubted == 0


def test_an_addition_that_is_there_already_is_no_doubt():
    settings = replace(HELD, chunk_tokens=16)
    held = read(Careless(), settings, f"{KEY} It rained, it rained.\n\n{KEY} It snowed, and it snowed.")
    assert held.memory == KEY and (held.tally.add, held.tally.changed, held.tally.doubted) == (2, 1, 0)


def test_a_line_that_does_not_fit_is_looked_at_whole():
    model = Careless(of=(DOOR, KEY))
    room = model.tokenizer.count(f"{DOOR}\n{KEY}") - 3
    settings = replace(HELD, memory_tokens=room, chunk_tokens=model.tokenizer.count(f"{KEY} Quiet.") + 2)
    held = read(model, settings, f"{DOOR} Quiet.\n\n{KEY} Quiet.")
    assert held.memory.startswith(DOOR) and held.tally.trimmed == 1
    assert set(model.shown[1:]) <= {None, "Quiet.", DOOR, KEY, f"{KEY} Quiet."}


@pytest.mark.filterwarnings("error")
def test_money_that_runs_out_between_two_sentences_stops_the_reading():
    spent = read(Careless(price=Price(1.0, 1.0))).usage.cost_usd
    for share in (0.2, 0.4, 0.6, 0.8):
        limited = Reader(Careless(price=Price(1.0, 1.0)), HELD, max_cost=spent * share)
        with pytest.raises(BudgetSpent):
            limited.read_sync(open_document(text=TEXT), "Where is the key?")
    gc.collect()


def test_money_is_spent_on_one_sentence_after_the_other():
    spent = read(Careless(price=Price(1.0, 1.0))).usage
    limited = Reader(Careless(price=Price(1.0, 1.0)), HELD, max_cost=spent.cost_usd * 1.5)
    held = limited.read_sync(open_document(text=TEXT), "Where is the key?")
    assert held.memory == KEY and held.usage.cost_usd == pytest.approx(spent.cost_usd)


def test_each_line_of_a_full_memory_is_as_sure_as_its_sentence():
    first = f"{DOOR} Quiet."
    model = Careless(of=(KEY,), also=(DOOR,))
    budget = model.tokenizer.count(KEY) + 2
    settings = replace(HELD, sift=0.82, gate=0.8, memory_tokens=budget, chunk_tokens=model.tokenizer.count(first) + 2)
    held = read(model, settings, f"{first}\n\n{KEY} Quiet.")
    assert held.memory == KEY and held.tally.changed == 2


async def test_what_is_read_later_takes_the_place_of_what_is_less_sure():
    """A source that grows is read on with a memory that is full."""
    first = f"{DOOR} Quiet."
    model = Careless(of=(KEY,), also=(DOOR,))
    settings = replace(HELD, sift=0.82, memory_tokens=model.tokenizer.count(KEY) + 2)

    async def grown():
        yield open_document(text=first)
        yield open_document(text=f"{first}\n\n{KEY} Quiet.")

    one, two = [reading async for reading in follow(Reader(model, settings), "Where is the key?", grown())]
    assert (one.memory, one.sure) == (DOOR, {DOOR: pytest.approx(0.85)})
    assert (two.memory, two.sure) == (KEY, {KEY: pytest.approx(0.97)})


def test_a_resumed_reading_takes_the_same_without_a_call(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(StoppedError):
        read(Careless(stops=True), journal=journal)
    held = read(model := Careless(), journal=journal)
    assert held.memory == KEY and model.shown == [None]
