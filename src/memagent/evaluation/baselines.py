"""What memory reading is compared with: the whole text at once, a part of it, none of it, or it in pieces.

Each baseline is a strategy: it decides what of the document the model sees. Counting, journalling and
failures are the desk's business (`consulting.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate, takewhile

from memagent.documents import cut, open_document
from memagent.errors import OptionError, WindowOverflow
from memagent.evaluation.consulting import MARGIN, Desk, Strategy, framed
from memagent.extras import extra
from memagent.models.base import Completion
from memagent.reading.together import together
from memagent.tokens import Tokenizer

PASSAGE_TOKENS = 200  # of a retrieved passage
NOTE_TOKENS = 256  # that map-reduce may note of one chunk
MOST_ROUNDS = 8  # of reducing notes

_MAP = (
    "Note down, in at most 100 words, what the section says that helps to answer the problem. Copy names, numbers "
    'and dates exactly. Reply "Nothing" if it does not help.\n\n<section>\n',
    "\n</section>\n\n<problem>\n{question}\n</problem>\n\nNotes:",
)
_CLOSED = "Answer the problem from what you know and put the answer in \\boxed{}.\n\n<problem>\n{question}\n</problem>"


async def full(desk: Desk) -> Completion:
    """The whole document in one prompt.

    Raises:
        WindowOverflow: it does not fit; nothing is cut.
    """
    return await desk.answer(desk.text)


async def truncated(desk: Desk) -> Completion:
    """The document's beginning and end, with its middle left out where it does not fit (as LongBench does)."""
    return await desk.answer(await asyncio.to_thread(_whole_or, desk, _ends))


async def no_context(desk: Desk) -> Completion:
    """The question alone: how much of a score needs no document."""
    return await desk.ask("answer", _CLOSED.replace("{question}", desk.problem.question), desk.answer_tokens)


async def bm25(desk: Desk) -> Completion:
    """The passages that BM25 ranks first for the question, as many as fit, in the document's order."""
    return await desk.answer(await asyncio.to_thread(_whole_or, desk, _retrieved))


async def map_reduce(desk: Desk) -> Completion:
    """Notes of each chunk by itself, and an answer from the notes; notes that do not fit are noted again."""
    text = desk.text
    for round_number in range(MOST_ROUNDS):
        if round_number and desk.model.tokenizer.count(text) <= _room(desk):
            return await desk.answer(text)
        text = await _noted(desk, text, round_number)
    raise WindowOverflow(f"the notes of map-reduce do not fit the window after {MOST_ROUNDS} rounds")


STRATEGIES: Mapping[str, Strategy] = {
    "full": full,
    "truncated": truncated,
    "no-context": no_context,
    "bm25": bm25,
    "map-reduce": map_reduce,
}
ROPE = ("yarn", "dynamic", "linear")
NAMES = (*STRATEGIES, *(f"full+{kind}" for kind in ROPE))


def strategy_named(name: str) -> Strategy:
    """The strategy of a baseline, whatever stands behind a `+` in its name.

    Raises:
        OptionError: there is none.
    """
    base, _, scaling = name.partition("+")
    if base not in STRATEGIES or ("+" in name and (base != "full" or scaling.partition(":")[0] not in ROPE)):
        raise OptionError(f"there is no baseline {name}: take {', '.join(NAMES)}")
    return STRATEGIES[base]


def _room(desk: Desk) -> int:
    """Tokens for the context in the answer's prompt.

    Raises:
        WindowOverflow: there are none.
    """
    room = desk.room("".join(framed(desk.problem)))
    if room < 1:
        raise WindowOverflow(f"the question and its answer do not fit the window of {desk.model.window} tokens")
    return room


def _whole_or(desk: Desk, chosen: Callable[[Desk, int], str]) -> str:
    """The whole document where the window takes it, as `full` shows it; else what is chosen of it for the room."""
    text, model = desk.text, desk.model
    room = _room(desk)
    few = len(_first(text, model.window, model.tokenizer)) == len(text)  # only then is all of it counted
    return text if few and desk.takes(text) else chosen(desk, room)


def _ends(desk: Desk, room: int) -> str:
    """The text if it has at most `room` tokens, else its first and its last ones, half of the room each."""
    text, tokenizer = desk.text, desk.model.tokenizer
    half = (room - MARGIN) // 2
    start = _first(text, room, tokenizer)
    if len(start) == len(text):
        return text
    return _first(start, half, tokenizer) + "\n…\n" + _last(text, half, tokenizer)


def _first(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    """The first `tokens` tokens; only as much of `text` is looked at as it takes."""
    looked = max(64, tokens * 8)
    while True:
        ends = tokenizer.ends(text[:looked])
        if len(ends) > tokens or looked >= len(text):
            return text[: ends[tokens - 1]] if len(ends) > tokens else text
        looked *= 2


def _last(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    """The last `tokens` tokens, as `_first`."""
    looked = max(64, tokens * 8)
    while True:
        tail = text[-looked:]
        ends = tokenizer.ends(tail)
        if len(ends) > tokens:
            return tail[ends[-tokens - 1] :]
        if looked >= len(text):
            return text
        looked *= 2


def _retrieved(desk: Desk, room: int) -> str:
    with extra("eval", "retrieval with BM25"):
        import bm25s
    size = min(PASSAGE_TOKENS, room)
    passages = list(cut(desk.document, desk.model.tokenizer, tokens=size))
    index = bm25s.BM25()
    tokens = partial(bm25s.tokenize, stopwords="en", show_progress=False)
    corpus = tokens([passage.text for passage in passages])
    if not corpus.vocab:
        return _ends(desk, room)
    index.index(corpus, show_progress=False)
    ranked, _ = index.retrieve(tokens([desk.problem.question]), k=len(passages), show_progress=False)
    order = [int(number) for number in ranked[0]]
    totals = accumulate(passages[number].tokens + 2 for number in order)
    chosen = [number for number, _ in takewhile(lambda pair: pair[1] <= room, zip(order, totals, strict=True))]
    return "\n\n".join(passages[number].text.strip() for number in sorted(chosen))


async def _noted(desk: Desk, text: str, round_number: int) -> str:
    """The notes on all chunks of `text`, one behind the other, without those that say nothing."""
    before, behind = _MAP[0], _MAP[1].replace("{question}", desk.problem.question)
    room = desk.room(before + behind, NOTE_TOKENS)
    if room < NOTE_TOKENS:
        raise WindowOverflow(f"the question leaves too little of the window of {desk.model.window} tokens for chunks")
    size = min(room, desk.settings.chunk_tokens or room)
    document = desk.document if round_number == 0 else open_document(text=text or " ", name="notes")
    chunks = [chunk.text for chunk in cut(document, desk.model.tokenizer, tokens=size)]
    places = [f"map {round_number}:{number}" for number in range(len(chunks))]
    replies = await together(
        [
            desk.ask(place, f"{before}{desk.guarded(chunk)}{behind}", NOTE_TOKENS)
            for place, chunk in zip(places, chunks, strict=True)
        ]
    )
    notes = (reply.text.strip() for reply in replies)
    return "\n\n".join(note for note in notes if note and not note.lower().startswith("nothing"))
