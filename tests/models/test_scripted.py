"""The scripted model: deterministic, and as strict as a real one."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memagent.errors import EndpointDown, WindowOverflow
from memagent.models.base import Price, Prompt, Request
from memagent.models.scripted import Fault, ScriptedModel, WordTokenizer
from memagent.reading.protocols import Gated, Paper


def asks(text: str = "hello there", *, max_tokens: int = 10, **fields: Any) -> Request:
    return Request(prompt=Prompt(segments=(text,)), max_tokens=max_tokens, **fields)


class TestTokenizer:
    @given(st.text())
    def test_tokens_cover_the_text(self, text):
        words = WordTokenizer()
        ends = words.ends(text)
        assert list(ends) == sorted(set(ends))
        assert len(ends) == words.count(text)
        assert (ends[-1] if ends else 0) == len(text)

    def test_examples(self):
        text = "An elephantine  walk, 漢字。"
        pieces = [text[start:end] for start, end in itertools.pairwise([0, *WordTokenizer().ends(text)])]
        assert pieces == ["An", " elephant", "ine", "  ", "walk", ",", " 漢字", "。"]


class TestGenerating:
    async def test_it_says_what_the_script_says_and_remembers_what_was_asked(self):
        model = ScriptedModel(lambda request: request.prompt.text.upper(), price=Price(1e6, 1e6))
        completion = await model.generate(asks("a b"))
        assert (completion.text, completion.finish) == ("A B", "stop")
        assert (completion.prompt_tokens, completion.completion_tokens) == (2, 2)
        assert completion.cost_usd == 4.0
        assert [request.prompt.text for request in model.requests] == ["a b"]
        assert model.calls == 1

    async def test_replies_in_turn(self):
        model = ScriptedModel.saying("a", "b")
        assert [(await model.generate(asks())).text for _ in range(3)] == ["a", "b", "b"]

    async def test_it_stops_at_its_budget(self):
        completion = await ScriptedModel.saying("one two three four").generate(asks(max_tokens=2))
        assert (completion.text, completion.finish, completion.completion_tokens) == ("one two", "length", 2)

    async def test_it_stops_at_the_one_token_word(self):
        model = ScriptedModel.saying("Keep it as it is")
        completion = await model.generate(asks(one_token="Keep"))
        assert (completion.text, completion.completion_tokens) == ("Keep", 1)
        assert (await model.generate(asks())).text == "Keep it as it is"

    async def test_thinking_is_apart(self):
        model = ScriptedModel.saying("<think>hm</think>yes")
        completion = await model.generate(asks(thinking_tokens=20))
        assert (completion.text, completion.thinking) == ("yes", "hm")

    async def test_it_has_a_window(self):
        model = ScriptedModel.saying("x", window=12)
        await model.generate(asks("a b", max_tokens=10))
        with pytest.raises(WindowOverflow):
            await model.generate(asks("a b c", max_tokens=10))

    async def test_ids_and_log_probabilities_are_the_same_every_time(self):
        request = Request(prompt=Prompt(segments=("a", " b")), max_tokens=9, logprobs=True)
        first, second = [await ScriptedModel.saying("x y x").generate(request) for _ in range(2)]
        assert first == second
        assert first.token_ids is not None
        assert first.logprobs is not None
        assert len(first.token_ids) == len(first.logprobs) == first.completion_tokens == 3
        assert first.prompt_ids is not None
        assert len(first.prompt_ids) == first.prompt_tokens == 2
        assert first.token_ids[0] != first.token_ids[1]
        assert all(value <= 0 for value in first.logprobs)


class TestFaults:
    async def test_it_fails(self):
        model = ScriptedModel.saying(Fault(error=EndpointDown("gone")), "back")
        with pytest.raises(EndpointDown, match="gone"):
            await model.generate(asks())
        assert (await model.generate(asks())).text == "back"

    async def test_it_stalls_until_it_is_let_go(self):
        gate = asyncio.Event()
        model = ScriptedModel.saying(Fault(until=gate, text="late"))
        calls = [asyncio.create_task(model.generate(asks())) for _ in range(3)]
        while model.in_flight < 3:
            await asyncio.sleep(0)
        gate.set()
        assert [(await call).text for call in calls] == ["late"] * 3
        assert (model.in_flight, model.most_in_flight) == (0, 3)

    async def test_a_cancelled_call_is_no_longer_under_way(self):
        model = ScriptedModel.saying(Fault(seconds=60))
        call = asyncio.create_task(model.generate(asks()))
        while not model.in_flight:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert model.in_flight == 0

    async def test_closing(self):
        model = ScriptedModel.saying("x")
        await model.aclose()
        assert model.closed


class TestReader:
    section = "Nothing here.\nThe code is 42.\nNor here."

    async def test_gated(self):
        model, protocol = ScriptedModel.reader("code"), Gated()

        async def update(memory, section):
            prompt = protocol.update_prompt("What is the code?", memory, section)
            reply = await model.generate(Request(prompt=prompt, max_tokens=50, one_token=protocol.one_token))
            return protocol.parse_update(reply.text)

        assert (await update("No previous memory", "Nothing.")).outcome == "keep"
        first = await update("No previous memory", self.section)
        assert (first.outcome, first.text) == ("add", "The code is 42.")
        assert (await update("The code is 42.", self.section)).outcome == "keep"

    async def test_paper(self):
        model, protocol = ScriptedModel.reader("code", "key"), Paper()
        memory = "No previous memory"
        for section in (self.section, "Nothing.", "The key is red."):
            prompt = protocol.update_prompt("What is the code?", memory, section)
            memory = (await model.generate(Request(prompt=prompt, max_tokens=50))).text
        assert memory == "The code is 42.\nThe key is red."
        answer = await model.generate(Request(prompt=protocol.answer_prompt("?", memory), max_tokens=50))
        assert answer.text == "\\boxed{The code is 42.; The key is red.}"
