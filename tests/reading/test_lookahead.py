"""Reading ahead gives the turns of reading one by one, and cancels what it tried in vain."""

import asyncio

import pytest

from memagent.documents.base import Chunk
from memagent.reading.lookahead import Lookahead
from memagent.reading.result import Turn


def chunks(count):
    return [Chunk(index=n, name=str(n), text="x", start=n, tokens=1, spans=()) for n in range(count)]


class Book:
    """Chunks whose numbers in `changes` change the memory; notes what was asked and what was cancelled."""

    def __init__(self, count, changes):
        self.left = iter(chunks(count))
        self.changes = changes
        self.asked, self.cancelled, self.running, self.most = [], [], 0, 0

    async def next_chunk(self):
        return next(self.left, None)

    async def read(self, chunk, memory):
        self.asked.append((chunk.name, memory))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            # Later chunks finish first, so that order is not kept by accident.
            await asyncio.sleep(0.001 * (5 - chunk.index % 5))
        except asyncio.CancelledError:
            self.cancelled.append(chunk.name)
            raise
        finally:
            self.running -= 1
        changed = chunk.index in self.changes
        after = f"{memory},{chunk.name}" if changed else memory
        outcome = "add" if changed else "keep"
        return [
            Turn(chunk=chunk.name, start=chunk.start, end=chunk.end, outcome=outcome, memory=after, changed=changed)
        ]


async def turns_of(book, width, may_ahead=lambda: True):
    lookahead = Lookahead(book.next_chunk, book.read, width=width, may_ahead=may_ahead)
    return [turn async for turns in lookahead.turns("m") for turn in turns]


@pytest.mark.parametrize("changes", [set(), {0}, {39}, {5, 6, 7, 20}, set(range(40))])
async def test_any_width_gives_the_same_turns(changes):
    one_by_one = await turns_of(Book(40, changes), 1)
    assert [turn.chunk for turn in one_by_one] == [str(n) for n in range(40)]
    for width in (2, 4, 16, 100):
        assert await turns_of(Book(40, changes), width) == one_by_one


async def test_what_was_tried_in_another_manner_is_tried_again():
    book, manners = Book(12, set()), []

    async def read(chunk, memory):
        manners.append((chunk.index, len(accepted) > 6))
        return await book.read(chunk, memory)

    accepted = []
    lookahead = Lookahead(book.next_chunk, read, width=8, may_ahead=lambda: True, manner=lambda: len(accepted) > 6)
    async for turns in lookahead.turns("m"):
        accepted += turns
    assert [turn.chunk for turn in accepted] == [str(n) for n in range(12)]
    last = dict(manners)  # the last try of each
    assert [last[n] for n in range(12)] == [n > 6 for n in range(12)]


async def test_it_is_as_wide_as_allowed_and_no_wider():
    book = Book(64, set())
    await turns_of(book, 8)
    assert book.most == 8


async def test_a_memory_that_always_changes_costs_no_vain_calls():
    book = Book(30, set(range(30)))
    await turns_of(book, 16)
    assert len(book.asked) == 30
    assert book.cancelled == []


async def test_what_saw_an_old_memory_is_asked_again():
    book = Book(20, {10})
    await turns_of(book, 8)
    final = dict(book.asked)
    assert final["15"] == "m,10"
    assert final["9"] == "m"


async def test_it_does_not_try_ahead_when_it_may_not():
    book = Book(20, set())
    await turns_of(book, 8, may_ahead=lambda: False)
    assert book.most == 1


async def test_an_error_leaves_nothing_running():
    book = Book(20, set())

    async def fails(chunk, memory):
        if chunk.index == 5:
            raise RuntimeError("down")
        return await Book.read(book, chunk, memory)

    lookahead = Lookahead(book.next_chunk, fails, width=8, may_ahead=lambda: True)
    with pytest.raises(RuntimeError, match="down"):
        [turn async for turn in lookahead.turns("m")]
    assert book.running == 0
