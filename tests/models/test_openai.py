"""The endpoint model when all goes well: what it sends, reads, counts, bounds and hides."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from tests.fake_endpoint import Fault, count_tokens, prompt_of

from memagent.errors import OptionError, SetupError
from memagent.models.base import Price, Prompt, Request, Sampling
from memagent.models.openai import ASSUMED_WINDOW, OpenAIModel
from memagent.models.scripted import WordTokenizer

KEY = "sk-very-secret-key"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
async def model(endpoint):
    model = OpenAIModel("fake", base_url=endpoint.url, api_key=KEY)
    yield model
    await model.aclose()


def asks(text: str = "hello", *, max_tokens: int = 10, **fields: Any) -> Request:
    return Request(prompt=Prompt(segments=(text,)), max_tokens=max_tokens, **fields)


class TestSending:
    async def test_the_prompt_arrives_byte_for_byte(self, endpoint, model):
        text = "  <problem> \n\ttrailing \r\n 漢字 한글 \U0001f600 \u2060 \x00 \\boxed{} \u2028\n"
        prompt = Prompt(segments=(text, "", text), shared=1)
        await model.generate(Request(prompt=prompt, max_tokens=5))
        assert endpoint.bodies[0]["messages"] == [{"role": "user", "content": text + text}]

    async def test_a_lone_surrogate_does_not_stop_a_reading(self, endpoint, model):
        await model.generate(asks("a\ud800é"))
        assert prompt_of(endpoint.bodies[0]) == "a?é"

    async def test_greedy_requests_send_only_the_temperature(self, endpoint, model):
        await model.generate(asks())
        body = endpoint.bodies[0]
        assert body["temperature"] == 0.0
        assert set(body) == {"model", "messages", "max_tokens", "temperature"}

    async def test_sampling_is_passed_on_in_full(self, endpoint, model):
        sampling = Sampling(temperature=0.7, top_p=1.0, seed=3)
        await model.generate(asks(sampling=sampling))
        body = endpoint.bodies[0]
        assert (body["temperature"], body["top_p"], body["seed"]) == (0.7, 1.0, 3)

    async def test_thinking_has_a_budget_on_top(self, endpoint, model):
        await model.generate(asks(max_tokens=30, thinking_tokens=500))
        assert endpoint.bodies[0]["max_tokens"] == 530

    async def test_the_key_is_sent_and_a_dummy_where_there_is_none(self, endpoint, model):
        await model.generate(asks())
        keyless = OpenAIModel("fake", base_url=endpoint.url)
        await keyless.generate(asks())
        await keyless.aclose()
        assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
        assert endpoint.headers[1]["authorization"] == "Bearer none"

    async def test_address_and_key_come_from_the_environment(self, endpoint, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY + "\n")
        model = OpenAIModel("fake")
        await model.generate(asks())
        await model.aclose()
        assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"

    async def test_loopback_is_reached_without_the_proxy(self, endpoint, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        model = OpenAIModel("fake", base_url=endpoint.url, retries=0)
        assert (await model.generate(asks())).text == "Keep"
        await model.aclose()


class TestReading:
    async def test_usage_and_cost(self, endpoint):
        endpoint.usage = lambda body, prompt, completion: {
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 400},
        }
        model = OpenAIModel("fake", base_url=endpoint.url, price=Price(2.0, 10.0, 0.5))
        completion = await model.generate(asks())
        await model.aclose()
        assert (completion.prompt_tokens, completion.completion_tokens) == (1000, 50)
        assert completion.cached_tokens == 400
        assert completion.cost_usd == pytest.approx((600 * 2 + 400 * 0.5 + 50 * 10) / 1e6)

    async def test_cached_tokens_that_are_reported_beside_the_prompt_count_with_it(self, endpoint, model):
        endpoint.usage = lambda *_: {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 90}}
        completion = await model.generate(asks("word " * 80))
        assert (completion.prompt_tokens, completion.cached_tokens) == (100, 90)

    async def test_missing_usage_is_estimated_and_noted_once(self, endpoint, model):
        endpoint.usage = lambda *_: None
        endpoint.reply = lambda body: "abcdef"
        for _ in range(2):
            completion = await model.generate(asks("x" * 30))
        assert (completion.prompt_tokens, completion.completion_tokens) == (10, 2)
        assert [note for note in model.notes if "no usage" in note] == [model.notes[0]]

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    async def test_reasoning_fields_are_thinking(self, endpoint, model, field):
        endpoint.reply = lambda body: {"role": "assistant", "content": "yes", field: "hm"}
        completion = await model.generate(asks())
        assert (completion.text, completion.thinking) == ("yes", "hm")

    async def test_thinking_in_the_text_is_split_off(self, endpoint, model):
        endpoint.reply = lambda body: "<think>well</think>yes"
        completion = await model.generate(asks())
        assert (completion.text, completion.thinking) == ("yes", "well")

    @pytest.mark.parametrize(
        ("sent", "read"),
        [
            ("a\ud83d", "a\ufffd"),
            ("\ude00a\n", "\ufffda\n"),
            ("\ud83d\ud83d", "\ufffd\ufffd"),
            ("\ufeff\U0001f600\ud83d", "\ufeff\U0001f600\ufffd"),
        ],
    )
    async def test_lone_surrogates_are_replaced(self, endpoint, model, sent, read):
        endpoint.reply = lambda body: {"content": sent, "reasoning": sent}
        completion = await model.generate(asks())
        assert (completion.text, completion.thinking) == (read, read)

    async def test_a_character_sent_in_two_parts_is_one(self, endpoint, model):
        endpoint.reply = lambda body: {"content": [{"text": "\ud83d"}, {"text": "\ude00"}]}
        assert (await model.generate(asks())).text == "\U0001f600"

    async def test_replies_that_are_all_thinking_are_noted_once(self, endpoint, model):
        choice = {"message": {"content": "<think>and then"}, "finish_reason": "length"}
        endpoint.reply = lambda body: {"choices": [choice]}
        await model.generate(asks())
        await model.generate(asks())
        said = [note for note in model.notes if "thinking" in note]
        assert said == ["replies were all thinking: give --thinking-tokens, or more of them"]

    @pytest.mark.parametrize(
        ("content", "reason"), [("<think>a</think>yes", "length"), ("<think>a</think>", "stop"), ("", "length")]
    )
    async def test_other_replies_are_not(self, endpoint, model, content, reason):
        choice = {"message": {"content": content}, "finish_reason": reason}
        endpoint.reply = lambda body: {"choices": [choice]}
        await model.generate(asks())
        assert [note for note in model.notes if "thinking" in note] == []

    async def test_parts_and_nothing_are_texts_too(self, endpoint, model):
        endpoint.reply = lambda body: {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
        assert (await model.generate(asks())).text == "ab"
        endpoint.reply = lambda body: {"content": None}
        assert (await model.generate(asks())).text == ""

    @pytest.mark.parametrize(("reason", "finish"), [("length", "length"), ("stop", "stop"), (None, "stop")])
    async def test_finish(self, endpoint, model, reason, finish):
        choice = {"message": {"content": "x"}, "finish_reason": reason}
        endpoint.reply = lambda body: {"choices": [choice]}
        assert (await model.generate(asks())).finish == finish

    async def test_log_probabilities_with_vllm_ids(self, endpoint, model):
        content = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]
        choice = {"message": {"content": "ab"}, "logprobs": {"content": content}, "token_ids": [7, 9]}
        endpoint.reply = lambda body: {"choices": [choice], "prompt_token_ids": [1, 2, 3]}
        completion = await model.generate(asks(logprobs=True))
        assert endpoint.bodies[0]["logprobs"] is True
        assert endpoint.bodies[0]["return_token_ids"] is True
        assert completion.logprobs == (-0.5, -1.0)
        assert completion.token_ids == (7, 9)
        assert completion.prompt_ids == (1, 2, 3)

    async def test_log_probabilities_with_llama_cpp_ids_and_without_any(self, endpoint, model):
        choice = {"message": {"content": "a"}, "logprobs": {"content": [{"id": 5, "logprob": -0.5}]}}
        endpoint.reply = lambda body: {"choices": [choice]}
        assert (await model.generate(asks(logprobs=True))).token_ids == (5,)
        choice["logprobs"] = {"content": [{"logprob": -0.5}]}
        completion = await model.generate(asks(logprobs=True))
        assert (completion.token_ids, completion.logprobs) == (None, (-0.5,))


class TestWindow:
    @pytest.mark.parametrize(
        "entry",
        [
            {"max_model_len": 8192},
            {"meta": {"n_ctx_train": 8192}},
            {"meta": {"n_ctx": 8192, "n_ctx_train": 131072}},
            {"context_length": 8192},
            {"context_window": 8192},
        ],
    )
    async def test_it_is_what_the_endpoint_says(self, endpoint, model, entry):
        endpoint.models = {"data": [{"id": "other", "context_length": 1}, {"id": "fake", **entry}]}
        await model.prepare()
        assert (model.window, model.notes) == (8192, ())

    async def test_it_is_asked_once(self, endpoint, model):
        await model.prepare()
        await model.prepare()
        await model.generate(asks())
        assert endpoint.paths == ["/v1/models", "/v1/chat/completions"]

    async def test_it_is_assumed_and_noted_where_nothing_is_said(self, endpoint, model):
        await model.prepare()
        assert model.window == ASSUMED_WINDOW
        assert "does not tell its window" in model.notes[0]

    async def test_a_given_one_stands(self, endpoint):
        endpoint.models = {"data": [{"id": "fake", "max_model_len": 8192}]}
        model = OpenAIModel("fake", base_url=endpoint.url, window=1000)
        await model.prepare()
        await model.aclose()
        assert (model.window, model.notes) == (1000, ())

    @pytest.mark.parametrize("status", [404, 405, 500])
    async def test_a_server_that_lists_nothing_is_fine(self, endpoint, model, status):
        endpoint.models = Fault(status=status)
        await model.prepare()
        assert model.window == ASSUMED_WINDOW

    @pytest.mark.parametrize("body", [b"garbage", b"[]", b'{"data": [3]}', b'{"data": {"x": 1}}'])
    async def test_a_garbled_list_is_fine(self, endpoint, model, body):
        endpoint.models = Fault(body=body)
        await model.prepare()
        assert model.window == ASSUMED_WINDOW

    async def test_a_key_that_may_chat_but_not_list_is_fine(self, endpoint, model):
        endpoint.models = Fault(status=403, body={"error": {"message": "Missing scopes: api.model.read"}})
        await model.prepare()

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_refused_key_is_told(self, endpoint, model, status):
        endpoint.models = Fault(status=status)
        with pytest.raises(SetupError, match="OPENAI_API_KEY"):
            await model.prepare()


class TestCounting:
    def test_exact_with_a_tokenizer_a_bound_without(self, endpoint):
        prompt = Prompt(segments=("one two ", "three 漢"))
        exact = OpenAIModel("fake", base_url=endpoint.url, tokenizer=WordTokenizer())
        assert exact.prompt_tokens(prompt) == WordTokenizer().count(prompt.text) + 64
        assert OpenAIModel("fake", base_url=endpoint.url).prompt_tokens(prompt) == 17 + 64

    def test_a_prompt_is_counted_once(self, endpoint, monkeypatch):
        tokenizer = WordTokenizer()
        counted: list[str] = []

        def count(text: str) -> int:
            counted.append(text)
            return 3

        monkeypatch.setattr(tokenizer, "count", count)
        model = OpenAIModel("fake", base_url=endpoint.url, tokenizer=tokenizer)
        assert [model.prompt_tokens(Prompt(segments=("a",))) for _ in range(3)] == [67] * 3
        assert counted == ["a"]


class TestBounds:
    async def test_the_server_never_sees_more_than_concurrency(self, endpoint):
        endpoint.delay = 0.02
        model = OpenAIModel("fake", base_url=endpoint.url, concurrency=3)
        await asyncio.gather(*(model.generate(asks(str(number))) for number in range(12)))
        await model.aclose()
        assert endpoint.most_in_flight == 3
        assert endpoint.answered == 12

    async def test_a_cancelled_call_hangs_up(self, endpoint, model):
        endpoint.faults.append(Fault(stall=30))
        call = asyncio.create_task(model.generate(asks()))
        while not endpoint.in_flight:
            await asyncio.sleep(0.005)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while endpoint.in_flight:
            await asyncio.sleep(0.005)
        assert (endpoint.hung_up, endpoint.answered) == (1, 0)
        assert (await model.generate(asks())).text == "Keep"

    def test_one_model_serves_one_event_loop_after_another(self, endpoint):
        model = OpenAIModel("fake", base_url=endpoint.url, concurrency=1)

        async def once() -> list[str]:
            replies = await asyncio.gather(model.generate(asks("a")), model.generate(asks("b")))
            await model.aclose()
            return [reply.text for reply in replies]

        assert [asyncio.run(once()) for _ in range(2)] == [["Keep", "Keep"]] * 2


class TestSecrets:
    async def test_nothing_shows_the_key_or_the_credentials_of_the_url(self, endpoint):
        url = endpoint.url.replace("http://", "http://someone:pass-word@")
        model = OpenAIModel("fake", base_url=url, api_key=KEY)
        await model.prepare()
        echo = {"error": {"message": f"Bad key {KEY} for someone:pass-word\n at line 2"}}
        endpoint.faults.append(Fault(status=401, body=echo))
        with pytest.raises(SetupError) as caught:
            await model.generate(asks())
        await model.aclose()
        shown = f"{caught.value} {caught.value!r} {model!r} {model.identity} {model.notes} {model._address!r}"
        for secret in (KEY, "pass-word", "someone"):
            assert secret not in shown
        assert "\n" not in str(caught.value)

    def test_identity_is_name_and_tokenizer(self, endpoint):
        model = OpenAIModel("fake", base_url=endpoint.url, api_key=KEY, tokenizer=WordTokenizer())
        assert model.identity == {"kind": "openai", "name": "fake", "tokenizer": "words"}


class TestOptions:
    @pytest.mark.parametrize(
        "url",
        ["localhost:8000", "ftp://x/v1", "http://", "http://x:port/v1", "http://[::1/v1", "http://a b/v1"],
    )
    def test_malformed_urls(self, url):
        with pytest.raises(OptionError, match="must look like http://"):
            OpenAIModel("m", base_url=url, api_key=KEY)

    def test_a_hosted_model_needs_a_key(self):
        with pytest.raises(SetupError, match="set OPENAI_API_KEY"):
            OpenAIModel("m")

    @pytest.mark.parametrize("key", ["sk-ключ-secret", "sk-line\nbreak-secret"])
    def test_a_key_that_no_header_can_carry(self, key):
        with pytest.raises(OptionError) as caught:
            OpenAIModel("m", api_key=key)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "fields",
        [{"name": " "}, {"window": 0}, {"concurrency": 0}, {"timeout": 0}, {"retries": -1}],
    )
    def test_impossible_numbers(self, fields):
        with pytest.raises(OptionError):
            OpenAIModel(**{"name": "m", "base_url": "http://localhost/v1", **fields})

    def test_the_sdk_is_imported_late(self):
        code = "import sys, memagent.models.openai; sys.exit('openai' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)


def test_the_fake_counts_what_it_is_sent(endpoint):
    """The other tests lean on it."""
    assert count_tokens("one, two") == 3
