"""The endpoint model when things go wrong: each fault against a live endpoint, waits recorded, not waited."""

from __future__ import annotations

import asyncio
import email.utils
import time
from typing import Any

import pytest
from tests.fake_endpoint import FakeEndpoint, Fault, count_tokens

from memagent.errors import (
    EndpointDown,
    EndpointUnreachable,
    MemagentError,
    PromptWasCut,
    SetupError,
    TurnRefused,
    WindowOverflow,
)
from memagent.models.base import Prompt, Request, Sampling
from memagent.models.openai import LONGEST_ASKED_WAIT, LONGEST_WAIT, OpenAIModel, pause
from memagent.models.scripted import WordTokenizer

TRANSIENT = {
    "408": Fault(status=408),
    "409": Fault(status=409),
    "429": Fault(status=429),
    "500": Fault(status=500),
    "502 with a page": Fault(status=502, body=b"<html>Bad gateway</html>"),
    "503": Fault(status=503),
    "garbage": Fault(body=b"<<<not json>>>"),
    "garbage, said to be text": Fault(body=b"OK", headers={"content-type": "text/plain"}),
    "broken bytes": Fault(body=b"\xff\xfe\x00"),
    "broken compression": Fault(body=b"nonsense", headers={"content-encoding": "gzip"}),
    "a bottomless body": Fault(body=b"[" * 200_000),
    "a list": Fault(body=b"[]"),
    "an empty object": Fault(body={}),
    "no choices": Fault(body={"choices": []}),
    "null choices": Fault(body={"choices": None}),
    "a choice of nonsense": Fault(body={"choices": [3]}),
    "no message": Fault(body={"choices": [{"message": None}]}),
    "content of nonsense": Fault(body={"choices": [{"message": {"content": 3}}]}),
    "aborted": Fault(body={"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}),
    "an error in a good status": Fault(body={"error": {"code": 502, "message": "provider is down"}}),
    "closed before": Fault(close="before"),
    "closed in the middle": Fault(close="middle"),
}


@pytest.fixture
def waits(monkeypatch):
    """The pauses before retries, in seconds; none is waited."""
    recorded: list[float] = []
    real = asyncio.sleep

    async def record(seconds: float) -> None:
        recorded.append(seconds)
        await real(0)

    monkeypatch.setattr("memagent.models.openai.asyncio.sleep", record)
    return recorded


@pytest.fixture
async def model(endpoint):
    model = OpenAIModel("fake", base_url=endpoint.url, api_key="sk-secret-key", retries=2)
    yield model
    await model.aclose()


def asks(text: str = "hello", *, max_tokens: int = 10, **fields: Any) -> Request:
    return Request(prompt=Prompt(segments=(text,)), max_tokens=max_tokens, **fields)


async def failure_of(model, request=None) -> MemagentError:
    with pytest.raises(MemagentError) as caught:
        await model.generate(request or asks())
    assert "\n" not in str(caught.value)
    return caught.value


class TestTransient:
    @pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
    async def test_it_is_tried_again(self, endpoint, model, waits, fault):
        endpoint.faults.extend([fault, fault])
        assert (await model.generate(asks())).text == "Keep"
        assert len(waits) == 2
        assert endpoint.bodies[0] == endpoint.bodies[1] == endpoint.bodies[2]

    @pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
    async def test_for_ever_it_is_unreachable_first_and_down_later(self, endpoint, model, waits, fault):
        endpoint.faults.extend([fault] * 3)
        error = await failure_of(model)
        assert type(error) is EndpointUnreachable
        assert "127.0.0.1" in str(error)
        await model.generate(asks())
        endpoint.faults.extend([fault] * 3)
        error = await failure_of(model)
        assert type(error) is EndpointDown
        assert "--resume" in str(error)
        assert (len(waits), len(endpoint.bodies)) == (4, 7)

    async def test_a_stall_beyond_the_time_out(self, endpoint, waits):
        endpoint.faults.extend([Fault(stall=30)] * 2)
        model = OpenAIModel("fake", base_url=endpoint.url, retries=1, timeout=0.1)
        error = await failure_of(model)
        await model.aclose()
        assert type(error) is EndpointUnreachable
        assert "no answer in time" in str(error)

    async def test_nobody_there(self, waits):
        with FakeEndpoint() as gone:
            url = gone.url
        model = OpenAIModel("fake", base_url=url, retries=1)
        with pytest.raises(EndpointUnreachable, match="connection refused"):
            await model.prepare()
        assert not waits
        assert type(await failure_of(model)) is EndpointUnreachable
        await model.aclose()

    async def test_an_endpoint_that_goes_away(self, waits):
        with FakeEndpoint() as endpoint:
            model = OpenAIModel("fake", base_url=endpoint.url, retries=1)
            await model.generate(asks())
        error = await failure_of(model)
        await model.aclose()
        assert type(error) is EndpointDown
        assert error.exit_status == 3


class TestAfterAResume:
    """A new object for an endpoint that an earlier one may have talked to."""

    LASTING = ("429", "500", "502 with a page", "503", "an error in a good status", "closed before")

    @pytest.mark.parametrize("name", LASTING)
    async def test_one_that_lists_its_models_is_down(self, endpoint, model, waits, name):
        await model.prepare()
        endpoint.faults.extend([TRANSIENT[name]] * 3)
        assert type(await failure_of(model)) is EndpointDown
        assert len(waits) == 2

    @pytest.mark.parametrize("name", ["garbage", "a list", "no choices", "content of nonsense"])
    async def test_one_that_sends_garbage_for_chats_is_a_matter_of_setup(self, endpoint, model, waits, name):
        await model.prepare()
        endpoint.faults.extend([TRANSIENT[name]] * 3)
        assert type(await failure_of(model)) is EndpointUnreachable
        model.answered = True
        endpoint.faults.extend([TRANSIENT[name]] * 3)
        assert type(await failure_of(model)) is EndpointDown

    @pytest.mark.parametrize("models", [Fault(status=503), Fault(body=b"<html>"), {"data": []}])
    async def test_no_list_is_no_answer(self, endpoint, model, waits, models):
        endpoint.models = models
        await model.prepare()
        endpoint.faults.extend([Fault(status=503)] * 3)
        assert type(await failure_of(model)) is EndpointUnreachable

    async def test_an_unknown_complaint_is_about_the_text_only_if_a_chat_was_answered(self, endpoint, model):
        await model.prepare()
        endpoint.faults.extend([Fault(status=400)] * 2)
        assert type(await failure_of(model)) is SetupError
        model.answered = True
        assert type(await failure_of(model)) is TurnRefused


class TestWaiting:
    @pytest.mark.parametrize(
        ("headers", "least"),
        [
            ({"retry-after": "7"}, 7),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after-ms": "2500", "retry-after": "9"}, 2.5),
        ],
    )
    async def test_retry_after_is_honoured(self, endpoint, model, waits, headers, least):
        endpoint.faults.append(Fault(status=429, headers=headers))
        await model.generate(asks())
        assert least <= waits[0] <= 1.1 * least

    async def test_retry_after_as_a_date(self, endpoint, model, waits):
        date = email.utils.formatdate(time.time() + 60, usegmt=True)
        endpoint.faults.append(Fault(status=503, headers={"retry-after": date}))
        await model.generate(asks())
        assert 40 < waits[0] <= 66

    @pytest.mark.parametrize("nonsense", ["soon", "nan", "inf", "-"])
    async def test_nonsense_is_ignored(self, endpoint, model, waits, nonsense):
        endpoint.faults.append(Fault(status=429, headers={"retry-after": nonsense}))
        await model.generate(asks())
        assert 0 < waits[0] <= 0.5

    def test_back_off_doubles_up_to_a_cap(self):
        for failures in range(1, 40):
            full = min(0.5 * 2 ** (failures - 1), LONGEST_WAIT)
            assert full / 2 <= pause(failures, None) <= full

    def test_no_server_makes_us_wait_for_ever(self):
        assert pause(1, 1e9) == LONGEST_ASKED_WAIT

    async def test_a_pause_holds_no_place(self, endpoint, monkeypatch):
        """With one place, a second call goes through while the first pauses."""
        pausing, resume = asyncio.Event(), asyncio.Event()

        async def hold(seconds: float) -> None:
            pausing.set()
            await resume.wait()

        monkeypatch.setattr("memagent.models.openai.asyncio.sleep", hold)
        model = OpenAIModel("fake", base_url=endpoint.url, concurrency=1)
        endpoint.faults.append(Fault(status=503))
        first = asyncio.create_task(model.generate(asks("first")))
        await pausing.wait()
        assert (await model.generate(asks("second"))).text == "Keep"
        resume.set()
        assert (await first).text == "Keep"
        await model.aclose()


class TestFinal:
    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_refused_key(self, endpoint, model, waits, status):
        endpoint.faults.append(Fault(status=status, body={"error": {"message": "bad key sk-secret-key"}}))
        error = await failure_of(model)
        assert type(error) is SetupError
        assert "OPENAI_API_KEY" in str(error)
        assert "sk-secret-key" not in str(error)
        assert not waits

    @pytest.mark.parametrize("prepared", [True, False])
    async def test_an_unknown_model_names_those_there_are(self, endpoint, model, waits, prepared):
        endpoint.models = {"data": [{"id": "big"}, {"id": "fakir"}]}
        if prepared:
            await model.prepare()
        endpoint.faults.append(Fault(status=404, body={"error": {"message": "no such model"}}))
        error = await failure_of(model)
        assert type(error) is SetupError
        assert "it offers fakir, big" in str(error)
        assert endpoint.paths.count("/v1/models") == 1

    async def test_a_wrong_path_hints_at_the_base_url(self, endpoint, waits):
        model = OpenAIModel("fake", base_url=endpoint.url.replace("/v1", "/nowhere"))
        endpoint.models = Fault(status=404)
        endpoint.faults.append(Fault(status=404, body=b"<html>nginx</html>"))
        error = await failure_of(model)
        await model.aclose()
        assert "most end in /v1" in str(error)

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(status=429, body={"error": {"message": "pay", "code": "insufficient_quota"}}),
            Fault(status=402, body={"error": {"message": "Insufficient Balance"}}),
        ],
    )
    async def test_an_empty_account_is_not_tried_again(self, endpoint, model, waits, fault):
        endpoint.faults.append(fault)
        assert type(await failure_of(model)) is SetupError
        await model.generate(asks())
        endpoint.faults.append(fault)
        assert type(await failure_of(model)) is EndpointDown
        assert not waits

    async def test_an_unknown_complaint_is_setup_first_and_about_the_text_later(self, endpoint, model, waits):
        fault = Fault(status=400, body={"error": {"message": "I do not like it"}})
        endpoint.faults.append(fault)
        error = await failure_of(model)
        assert type(error) is SetupError
        assert "I do not like it" in str(error)
        await model.generate(asks())
        endpoint.faults.append(fault)
        assert type(await failure_of(model)) is TurnRefused
        assert not waits

    async def test_an_overflow(self, endpoint, model, waits):
        body = {"error": {"type": "exceed_context_size_error", "message": "request (9 tokens) exceeds"}}
        endpoint.faults.append(Fault(status=400, body=body))
        assert type(await failure_of(model)) is WindowOverflow
        assert not waits

    @pytest.mark.parametrize(
        "choice",
        [
            {"message": {"content": ""}, "finish_reason": "content_filter"},
            {"message": {"content": None}, "finish_reason": "content_filter: PROHIBITED_CONTENT"},
            {"message": {"content": None, "refusal": "I will not"}, "finish_reason": "stop"},
        ],
    )
    async def test_a_filtered_answer(self, endpoint, model, waits, choice):
        endpoint.reply = lambda body: {"choices": [choice]}
        assert type(await failure_of(model)) is TurnRefused
        assert not waits


class TestDialects:
    async def test_max_completion_tokens_is_learnt_once(self, endpoint, model, waits):
        message = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        endpoint.faults.append(Fault(status=400, body={"error": {"message": message, "param": "max_tokens"}}))
        await model.generate(asks(max_tokens=10))
        await model.generate(asks(max_tokens=10))
        assert [body.get("max_tokens") for body in endpoint.bodies] == [10, None, None]
        assert [body.get("max_completion_tokens") for body in endpoint.bodies] == [None, 10, 10]
        assert not waits

    @pytest.mark.parametrize("name", ["temperature", "top_p", "seed"])
    async def test_unsupported_parameters_are_left_out_and_noted(self, endpoint, model, waits, name):
        error = {"message": f"Unsupported value: '{name}' does not support it", "param": name}
        endpoint.faults.append(Fault(status=400, body={"error": error}))
        sampled = asks(sampling=Sampling(temperature=0.5, top_p=0.9, seed=1))
        await model.generate(sampled)
        await model.generate(sampled)
        assert [name in body for body in endpoint.bodies] == [True, False, False]
        assert model.notes == (f"the endpoint does not support {name}: it is left out",)

    async def test_fastapi_names_them_in_detail(self, endpoint, model):
        detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
        endpoint.faults.append(Fault(status=422, body={"detail": detail}))
        await model.generate(asks(sampling=Sampling(seed=1)))
        assert ["seed" in body for body in endpoint.bodies] == [True, False]

    async def test_one_of_a_forbidden_pair_goes(self, endpoint, model):
        message = "`temperature` and `top_p` cannot both be specified for this model."
        endpoint.faults.append(Fault(status=400, body={"error": {"message": message}}))
        await model.generate(asks(sampling=Sampling(temperature=0.5)))
        assert "top_p" not in endpoint.bodies[1]
        assert endpoint.bodies[1]["temperature"] == 0.5

    async def test_token_ids_and_log_probabilities_can_be_done_without(self, endpoint, model):
        for name in ("return_token_ids", "logprobs"):
            message = f"Unrecognized request argument supplied: {name}"
            endpoint.faults.append(Fault(status=400, body={"error": {"message": message}}))
        completion = await model.generate(asks(logprobs=True))
        assert (completion.token_ids, completion.logprobs) == (None, None)
        assert "logprobs" not in endpoint.bodies[2]
        assert model.notes == ("the endpoint does not support logprobs: it is left out",)

    async def test_a_server_that_complains_for_ever_ends(self, endpoint, model):
        fault = Fault(status=400, body={"error": {"message": "temperature"}})
        endpoint.faults.extend([fault] * 50)
        assert type(await failure_of(model)) is SetupError
        assert len(endpoint.bodies) == 2

    async def test_calls_under_way_all_learn(self, endpoint, model):
        fault = Fault(status=400, body={"error": {"message": "bad", "param": "temperature"}}, stall=0.05)
        endpoint.faults.extend([fault] * 4)
        replies = await asyncio.gather(*(model.generate(asks(str(number))) for number in range(4)))
        assert [reply.text for reply in replies] == ["Keep"] * 4


class TestSilentCuts:
    async def test_with_the_tokenizer(self, endpoint):
        """Fifty tokens that no rule of thumb could count; the endpoint says how many it read."""
        reported = 45
        endpoint.usage = lambda *_: {"prompt_tokens": reported, "completion_tokens": 1}
        model = OpenAIModel("fake", base_url=endpoint.url, tokenizer=WordTokenizer())
        await model.generate(asks("字" * 400))
        reported = 44
        with pytest.raises(PromptWasCut, match=r"read 44 tokens of a prompt that has 50") as caught:
            await model.generate(asks("字" * 400, max_tokens=100))
        await model.aclose()
        assert "OLLAMA_CONTEXT_LENGTH" in str(caught.value)
        assert "at least 1024 tokens" in str(caught.value)
        assert caught.value.exit_status == 2

    async def test_without_one(self, endpoint, model):
        endpoint.cut_at = 600
        await model.generate(asks("word " * 500))
        with pytest.raises(PromptWasCut, match="read 600 tokens"):
            await model.generate(asks("word " * 1000))

    async def test_a_whole_prompt_is_never_taken_for_a_cut_one(self, endpoint, model):
        for text in ("word " * 2000, "don't. " * 1500, "漢字" * 3000, "a" * 9000, "x = f(y)[0];\n" * 300):
            assert (await model.generate(asks(text))).prompt_tokens == count_tokens(text) + 8

    async def test_a_plateau_in_a_script_without_spaces(self, endpoint, model):
        endpoint.usage = lambda body, prompt, completion: {"prompt_tokens": 2050, "completion_tokens": 1}
        await model.generate(asks("漢" * 3000))
        await model.generate(asks("漢" * 4000))
        with pytest.raises(PromptWasCut, match="read 2050 tokens"):
            await model.generate(asks("漢" * 5000))
