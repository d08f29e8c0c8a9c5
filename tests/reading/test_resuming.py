"""Resuming: what was finished is not asked again, what failed is, and nothing is skipped."""

import pytest
from tests.reading.oracle import FACTS, GATED, PAPER, document_text, oracle, sections

from memagent import Reader, Settings, open_document
from memagent.errors import (
    DocumentError,
    EndpointDown,
    OptionError,
    TurnRefused,
    WindowOverflow,
)
from memagent.models import Price, ScriptedModel
from memagent.models.scripted import tagged
from memagent.reading.journal import Journal
from memagent.tokens import ByteEstimate


async def test_all_refused_is_unread_and_can_be_resumed(document, tmp_path):
    journal = Journal(tmp_path)
    shut = True

    def moody(request):
        if shut:
            raise TurnRefused("no")
        return oracle(request)

    reader = Reader(ScriptedModel(moody), GATED, journal=journal)
    assert (await reader.read(document, "Which?")).status == "unread"
    shut = False
    assert (await reader.read(document, "Which?", resume=True)).status == "answered"


class Mortal(ScriptedModel):
    """The oracle, gone after `limit` calls in all; `finished` holds the prompts that were answered."""

    def __init__(self, finished, limit):
        super().__init__(oracle)
        self.finished, self.limit = finished, limit

    async def generate(self, request):
        if len(self.finished) >= self.limit:
            raise EndpointDown("gone")
        completion = await super().generate(request)
        self.finished.append(request.prompt.text)
        return completion


async def test_resuming_asks_no_finished_turn_twice(document, tmp_path):
    finished = []
    settings = Settings(protocol="gated", chunk_tokens=80, memory_tokens=200, read_ahead=4)

    async def session(limit):
        reader = Reader(Mortal(finished, limit), settings, journal=Journal(tmp_path))
        return await reader.read(document, "Which?", resume=True)

    for limit in (5, 12, 13, 30):
        with pytest.raises(EndpointDown):
            await session(limit)
    reading = await session(999)
    assert len(finished) == len(set(finished))
    plain = await Reader(ScriptedModel(oracle), GATED).read(document, "Which?")
    assert (reading.answer, reading.memory, reading.evidence) == (plain.answer, plain.memory, plain.evidence)
    assert (await session(0)).as_json() == reading.as_json()


async def test_without_resume_it_is_read_anew(document, tmp_path):
    model = ScriptedModel(oracle)
    reader = Reader(model, GATED, journal=Journal(tmp_path))
    first = await reader.read(document, "Which?")
    second = await reader.read(document, "Which?")
    assert second.reading_id != first.reading_id
    assert len(model.requests) == 2 * first.usage.model_calls


async def test_another_setting_problem_or_text_is_another_reading(document):
    reader = Reader(ScriptedModel(oracle), GATED)
    key = reader.key(document, "a")
    assert key != reader.key(document, "b")
    assert key != reader.key(open_document(text=document_text() + "!", name="book"), "a")
    assert key != Reader(ScriptedModel(oracle), PAPER).key(document, "a")
    wider = Settings(protocol="gated", chunk_tokens=80, memory_tokens=200, read_ahead=9)
    assert key == Reader(ScriptedModel(oracle), wider).key(document, "a")


async def test_a_changed_document_is_refused(document, tmp_path):
    journal = Journal(tmp_path)
    await Reader(ScriptedModel(oracle), GATED, journal=journal).read(document, "Which?")
    entry = journal.entries()[0]
    changed = open_document(text="other text", name="book")
    with pytest.raises(DocumentError, match="changed"):
        await Reader(ScriptedModel(oracle), GATED, journal=journal).resume(changed, entry)


async def test_a_resumed_reading_with_another_window_shows_the_whole_document(tmp_path):
    """Where tokens are estimated, the window decides where chunks end."""
    text = "".join(f"Line {number} tells of parcel {number * 7919 % 10007}.\n" for number in range(2000))
    document, journal = open_document(text=text, name="parcels"), Journal(tmp_path)
    settings = Settings(protocol="gated", chunk_tokens=5000, memory_tokens=200)

    def session(window, limit):
        model = Mortal([], limit)
        model.window, model.tokenizer = window, ByteEstimate()
        model.prompt_tokens = lambda prompt: len(prompt.text)
        return model, Reader(model, settings, journal=journal)

    small, reader = session(8192, 3)
    with pytest.raises(EndpointDown):
        await reader.read(document, "Which?", resume=True)
    large, reader = session(16384, 999)
    reading = await reader.read(document, "Which?", resume=True)
    shown = "".join(sections(small) + sections(large))
    assert all(f"Line {number} tells" in shown for number in range(2000))
    assert reading.coverage.read == reading.coverage.chunks
    turns = journal.turns(reading.reading_id)
    assert "".join(text[turn["start"] : turn["end"]] for turn in turns) == text


class Moody(ScriptedModel):
    """The oracle, but for prompts that `mood` has something to say to."""

    def __init__(self, mood, **more):
        self.mood = mood
        super().__init__(lambda request: self.mood(request) or oracle(request), **more)


def refuse_answers(request):
    if "<section>" not in request.prompt.text:
        raise TurnRefused("not today")


async def test_a_refused_answer_is_asked_again_on_resume(document, tmp_path):
    model = Moody(refuse_answers)
    reader = Reader(model, GATED, journal=Journal(tmp_path))
    with pytest.raises(TurnRefused):
        await reader.read(document, "Which?")
    before = len(model.requests)
    model.mood = lambda request: None
    reading = await reader.read(document, "Which?", resume=True)
    assert reading.answer == " ".join(FACTS)
    assert len(model.requests) == before + 1


async def test_a_filter_that_refuses_much_gives_the_same_at_any_width_and_on_resume(tmp_path):
    bad, dull = "FORBIDDEN words all over this paragraph, in each sentence of it. ", "Nothing is said of it here. "
    key = "The key lies under the stair and nobody has looked for it there. "
    text = "\n\n".join([*[bad * 9] * 3, key * 4 + bad * 5, *[dull * 20] * 3])

    def filtered(stops=False):
        def reply(request):
            section = tagged(request.prompt.text, "section")
            if section is None and stops:
                raise EndpointDown("down")
            if section and "FORBIDDEN" in section:
                raise TurnRefused("filtered")
            known = "stair" in (tagged(request.prompt.text, "memory") or "stair")
            return "Add: The key lies under the stair." if section and "stair" in section and not known else "Keep"

        return ScriptedModel(reply)

    def read(model, width, journal=None):
        settings = Settings(protocol="gated", chunk_tokens=130, memory_tokens=60, read_ahead=width)
        reader = Reader(model, settings, journal=journal)
        return reader.read(open_document(text=text), "Where is the key?", resume=True)

    one, eight = await read(filtered(), 1), await read(filtered(), 8)
    journal = Journal(tmp_path)
    with pytest.raises(EndpointDown):
        await read(filtered(stops=True), 8, journal)
    resumed = await read(filtered(), 8, journal)
    assert one.coverage.failed > 3
    assert {(held.memory, held.coverage.failed, held.tally.failed) for held in (one, eight, resumed)} == {
        (one.memory, one.coverage.failed, one.tally.failed)
    }


async def test_one_answer_that_fails_does_not_cost_the_others_theirs(document, tmp_path):
    model = Moody(lambda r: refuse_answers(r) if "first?" in r.prompt.text else None)
    reader = Reader(model, GATED, journal=Journal(tmp_path))
    with pytest.raises(TurnRefused):
        await reader.read_all(document, ["first?", "second?"])
    states = {entry.problem: entry.state for entry in reader.journal.entries()}
    assert states == {"first?": "reading", "second?": "finished"}


async def test_what_overflowed_is_asked_again_after_an_unread_reading(document, tmp_path):
    def overflow(request):
        raise WindowOverflow("too long")

    model = Moody(overflow)
    reader = Reader(model, GATED, journal=Journal(tmp_path))
    with pytest.raises(OptionError, match="memory-tokens"):
        await reader.read(document, "Which?")
    assert len(model.requests) < 12  # it does not go on to cut the whole document to crumbs
    refused = Moody(lambda request: (_ for _ in ()).throw(TurnRefused("no")))
    reader = Reader(refused, GATED, journal=Journal(tmp_path))
    unread = await reader.read(document, "Which now?")
    assert unread.status == "unread"
    made = len(refused.requests)
    assert made < 3 * 30 + unread.coverage.chunks  # after three chunks in a row one refusal is enough
    refused.mood = lambda request: None
    reading = await reader.read(document, "Which now?", resume=True)
    assert reading.status == "answered"
    assert reading.usage.model_calls == len(refused.requests)


async def test_one_of_several_problems_resumes_with_the_chunks_it_began_with(tmp_path):
    text = "".join(f"Line {number} tells of parcel {number * 7919 % 10007}.\n" for number in range(1500))
    document, journal = open_document(text=text, name="parcels"), Journal(tmp_path)
    settings = Settings(protocol="gated", chunk_tokens=5000, memory_tokens=200)

    def session(finished, limit):
        model = Mortal(finished, limit)
        model.window, model.tokenizer = 8192, ByteEstimate()
        model.prompt_tokens = lambda prompt: len(prompt.text)
        return Reader(model, settings, journal=journal)

    finished = []
    with pytest.raises(EndpointDown):
        await session(finished, 8).read_all(document, ["short?", "a much longer problem " * 60])
    await session(finished, 999).read(document, "short?", resume=True)
    assert len(finished) == len(set(finished))


async def test_a_reader_that_resumes_its_own_reading_counts_its_money_once(document, tmp_path):
    price = Price(prompt=10.0, completion=50.0)
    model = Moody(refuse_answers, price=price)
    reader = Reader(model, GATED, journal=Journal(tmp_path), max_cost=100)
    with pytest.raises(TurnRefused):
        await reader.read(document, "Which?")
    model.mood = lambda request: None
    reading = await reader.read(document, "Which?", resume=True)
    assert reader._purse.spent == pytest.approx(reading.usage.cost_usd)
