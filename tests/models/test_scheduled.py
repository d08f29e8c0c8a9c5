"""The scheduled gate: which turns change is fixed by the seed, and the model does their work."""

from __future__ import annotations

from memagent.models.base import Request
from memagent.models.scheduled import ScheduledGate, changes
from memagent.models.scripted import ScriptedModel, WordTokenizer
from memagent.reading.protocols import Gated, Paper, ReadingProtocol


def update(section: str, protocol: ReadingProtocol) -> Request:
    prompt = protocol.update_prompt("Why?", "before", section)
    return Request(prompt=prompt, max_tokens=7, one_token=protocol.one_token)


def test_the_share_is_about_right_and_the_seed_moves_it():
    sections = [f"section {number}" for number in range(20_000)]
    first, second = [{text for text in sections if changes(text, 0.02, seed)} for seed in (0, 1)]
    assert 300 < len(first) < 500
    assert first != second
    assert not any(changes(text, 0.0, 0) for text in sections)
    assert all(changes(text, 1.0, 0) for text in sections)


async def test_a_keep_costs_one_token():
    model = ScriptedModel.saying("words of an untrained model")
    completion = await ScheduledGate(model, rate=0).generate(update("s", Gated()))
    assert (completion.text, completion.completion_tokens, completion.finish) == ("Keep", 1, "stop")
    assert model.requests[0].max_tokens == 1


async def test_a_change_is_a_whole_reply_that_parses():
    model = ScriptedModel.saying("Keep words of an untrained model")
    completion = await ScheduledGate(model, rate=1).generate(update("s", Gated()))
    parsed = Gated().parse_update(completion.text)
    assert (parsed.outcome, parsed.text) == ("write", "Keep words of an untrained model")
    assert completion.completion_tokens == WordTokenizer().count(parsed.text)


async def test_other_turns_go_straight_through():
    model = ScriptedModel.saying("reply")
    gate = ScheduledGate(model, rate=0)
    answer = Request(prompt=Gated().answer_prompt("Why?", "m"), max_tokens=7)
    assert (await gate.generate(answer)).text == "reply"
    assert (await gate.generate(update("s", Paper()))).text == "reply"
    assert model.requests == [answer, update("s", Paper())]


async def test_it_says_what_it_is():
    model = ScriptedModel.saying("reply")
    gate = ScheduledGate(model, rate=0.02, seed=3)
    assert gate.notes == ("the gate is fixed by a schedule (seed 3): the memory changes at 2% of chunks",)
    assert gate.identity["schedule"] == "0.02/3"
    await gate.aclose()
    assert model.closed
