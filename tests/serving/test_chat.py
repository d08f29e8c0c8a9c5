"""The official SDK against the server: what goes straight through, what is read, and how both come back."""

import asyncio
import json
import threading
import time
from dataclasses import replace

import openai
import pytest
from tests.fake_endpoint import FakeEndpoint, Fault, prompt_of
from tests.reading.oracle import document_text
from tests.serving.conftest import GATED, Held

from memagent.models.endpoint.address import Address
from memagent.models.scripted import tagged
from memagent.serving.relay import Relay

TEXT = document_text(40)
QUESTION = "Which keys have a value?"
FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]


def client(server, **given):
    return openai.OpenAI(base_url=server.url, api_key="any", max_retries=0, timeout=30, **given)


def ask(server, content=f"{TEXT}\n\n{QUESTION}", **given):
    given.setdefault("messages", [{"role": "user", "content": content}])
    with client(server) as sdk:
        return sdk.chat.completions.create(model="memagent", **given)


def plain(reply):
    """As JSON: the SDK's types know no annotations of ours."""
    return json.loads(reply.to_json())


def test_a_long_message_is_read(serving):
    server = serving()
    reply = ask(server)
    choice = reply.choices[0]
    assert choice.message.content == " ".join(FACTS) and choice.finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 500
    assert reply.memagent["memory"] == "\n".join(FACTS) and reply.memagent["coverage"]["failed"] == 0
    prompts = [request.prompt.text for request in server.model.requests]
    assert {tagged(prompt, "problem") for prompt in prompts} == {QUESTION}


def test_evidence_comes_as_annotations_with_spans(serving):
    cited = [one["document_citation"] for one in plain(ask(serving()))["choices"][0]["message"]["annotations"]]
    assert cited and all(TEXT[one["start"] : one["end"]] == one["quote"] for one in cited)


def test_a_short_message_is_not_read(serving):
    server = serving(reply=lambda request: "Hello.", window=8192)
    assert ask(server, "Hi!").choices[0].message.content == "Hello."
    assert [request.prompt.text for request in server.model.requests] == ["Hi!"]
    assert not hasattr(ask(server, "Hi!"), "memagent")


def test_a_chat_goes_to_a_model_of_our_own_with_its_history(serving):
    server = serving(reply=lambda request: "Fine.", window=8192)
    turns = [("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello."), ("user", "How are you?")]
    ask(server, messages=[{"role": role, "content": text} for role, text in turns])
    (request,) = server.model.requests
    assert request.prompt.history == tuple(turns[:-1]) and request.prompt.text == "How are you?"


def test_documents_beside_the_message_are_read_even_where_they_fit(serving):
    server = serving(window=8192)
    reply = ask(server, QUESTION, extra_body={"documents": ["Key 1 is one.", {"text": "Key 2 is two.", "name": "b"}]})
    assert reply.choices[0].message.content == "Key 1 is one. Key 2 is two."


def test_a_tagged_document_is_told_from_the_problem(serving):
    server = serving()
    reply = ask(server, f"{QUESTION}\n<document>\n{TEXT}\n</document>\nAnswer briefly.")
    assert reply.choices[0].message.content == " ".join(FACTS)
    assert "Answer briefly." in server.model.requests[0].prompt.text.split("<problem>")[1]


def test_a_history_that_does_not_fit_is_read_and_the_newest_turns_stay(serving):
    server = serving()
    old = [{"role": "user", "content": f"Remember: {TEXT}"}, {"role": "assistant", "content": "I will."}]
    new = [{"role": "user", "content": "Thanks."}, {"role": "assistant", "content": "Gladly."}]
    reply = ask(server, messages=[*old, *new, {"role": "user", "content": QUESTION}])
    assert reply.choices[0].message.content == " ".join(FACTS)
    problem = server.model.requests[0].prompt.text.split("<problem>")[1]
    assert "User: Thanks." in problem and "Assistant: Gladly." in problem and QUESTION in problem
    assert "Remember" not in problem


def test_a_trailing_message_of_the_assistant_begins_the_answer(serving):
    server = serving(
        reply=lambda request: (
            "Keep" if request.one_token and "<section>" in request.prompt.text else "\\boxed{The keys are: 3, 10}"
        )
    )
    messages = [{"role": "user", "content": f"{TEXT}\n\n{QUESTION}"}, {"role": "assistant", "content": "The keys are:"}]
    assert ask(server, messages=messages).choices[0].message.content == " 3, 10"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_bounds_the_answer_and_not_the_memory(serving, name):
    reply = ask(serving(), **{name: 4})
    assert reply.choices[0].message.content == FACTS[0].rstrip(".")
    assert reply.choices[0].finish_reason == "length" and reply.memagent["memory"] == "\n".join(FACTS)


def test_stops_end_an_answer(serving):
    assert ask(serving(), stop=["Key 10", "never"]).choices[0].message.content.strip() == FACTS[0]


def test_several_answers_come_from_one_reading(serving):
    server = serving()
    reply = ask(server, n=3, temperature=0.7, seed=5)
    assert [one.index for one in reply.choices] == [0, 1, 2]
    answers = [one for one in server.model.requests if "<section>" not in one.prompt.text]
    drawn = [one.sampling for one in answers if one.sampling.temperature]
    assert [one.seed for one in drawn] == [5, 6, 7] and len(answers) == 4


def test_the_same_again_costs_nothing(serving):
    server = serving()
    first = ask(server)
    calls = len(server.model.requests)
    assert ask(server).choices == first.choices and len(server.model.requests) == calls


def test_a_stream_shows_the_memory_as_it_changes_and_then_the_answer(serving):
    server = serving()
    messages = [{"role": "user", "content": f"{TEXT}\n\n{QUESTION}"}]
    options = {"include_usage": True}
    with client(server) as sdk:
        given = {"model": "memagent", "messages": messages, "stream": True, "stream_options": options}
        chunks = list(sdk.chat.completions.create(**given))
    thoughts = "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks if c.choices)
    assert thoughts.index("Reading") < thoughts.index("The memory is now:") and FACTS[-1] in thoughts
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == " ".join(FACTS)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens > 500 and not chunks[-1].choices


def test_long_silences_are_kept_alive(serving, monkeypatch):
    import httpx2

    monkeypatch.setattr("memagent.serving.streams.KEEP_ALIVE_SECONDS", 0.05)

    model = Held(window=600)
    server = serving(model=model)
    threading.Timer(1.0, model.go.set).start()
    messages = [{"role": "user", "content": f"{TEXT[:900]}\n\n{QUESTION}"}]
    body = {"model": "memagent", "stream": True, "messages": messages, "read": True}
    reply = httpx2.post(f"{server.url}/chat/completions", json=body, timeout=60)
    assert ": reading goes on" in reply.text and reply.text.rstrip().endswith("data: [DONE]")


def test_a_client_that_goes_away_cancels_the_reading_and_the_same_goes_on(serving):
    model = Held(after=4, window=600)
    server = serving(model=model)
    messages = [{"role": "user", "content": f"{TEXT}\n\n{QUESTION}"}]
    with client(server) as sdk:
        stream = sdk.chat.completions.create(model="memagent", messages=messages, stream=True)
        next(iter(stream))
        assert model.began.wait(10)
        stream.close()
    deadline = time.monotonic() + 10
    while server.service.admission.running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.service.admission.running == 0
    model.go.set()
    made = [request.prompt.text for request in model.requests]
    assert ask(server).choices[0].message.content == " ".join(FACTS)
    again = [request.prompt.text for request in model.requests[len(made) :]]
    assert len(made) == 4 and not set(made) & set(again)


def test_through_an_endpoint_a_short_chat_passes_as_it_is(fronting):
    server, endpoint = fronting(reply="Hello.", window=8192)
    reply = ask(server, "Hi!", extra_body={"logit_bias": {"1": 2}, "unheard_of": [1]})
    assert reply.choices[0].message.content == "Hello."
    sent = endpoint.bodies[-1]
    assert sent["model"] == "fake" and sent["unheard_of"] == [1] and sent["logit_bias"] == {"1": 2}


def test_through_an_endpoint_a_long_message_is_read(fronting):
    server, endpoint = fronting(window=2048)
    assert ask(server).choices[0].message.content == " ".join(FACTS)
    assert len(endpoint.bodies) > 2 and all(len(prompt_of(body)) < 4000 for body in endpoint.bodies)


def test_an_endpoint_that_fails_half_way_is_a_503_and_the_same_goes_on(fronting):
    server, endpoint = fronting(window=2048)
    endpoint.faults.extend([Fault(), Fault(status=401, body={"error": {"message": "no"}})])
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server)
    assert caught.value.status_code == 503 and "goes on" in json.dumps(caught.value.body)
    assert ask(server).choices[0].message.content == " ".join(FACTS)


def test_an_endpoint_that_is_gone_is_a_502(fronting):
    server, endpoint = fronting(window=8192)
    endpoint.stop()
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server, "Hi!")
    assert caught.value.status_code == 502


def test_an_endpoint_that_breaks_off_its_reply_is_a_502(fronting):
    server, endpoint = fronting(reply="Hello.", window=8192)
    endpoint.faults.append(Fault(close="middle"))
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server, "Hi!")
    assert caught.value.status_code == 502
    assert ask(server, "Hi!").choices[0].message.content == "Hello."


def test_behind_two_endpoints_a_chat_goes_to_the_one_that_is_there():
    with FakeEndpoint("Hello.") as one:
        urls = [f"http://127.0.0.1:1/v1,{one.url}", f"{one.url},http://127.0.0.1:1/v1"]
        for number, given in enumerate(urls):
            relay = Relay([Address.given(url, "none") for url in given.split(",")], timeout=20, connections=8)
            body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": f"Hi {number}"}]}).encode()

            async def twice(relay=relay, body=body):
                said = []
                for _ in range(2):
                    reply = await relay.chat(body)
                    said.append(json.loads(b"".join([part async for part in reply.parts()])))
                    reply.close()
                await relay.aclose()
                return [one["choices"][0]["message"]["content"] for one in said]

            assert asyncio.run(twice()) == ["Hello.", "Hello."]


def test_images_go_to_an_endpoint_as_they_are(fronting):
    server, endpoint = fronting(reply="A cat.", window=8192)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": "What is this?"}, picture]
    assert ask(server, content).choices[0].message.content == "A cat."
    assert endpoint.bodies[-1]["messages"][0]["content"] == content


def test_more_tokens_than_the_window_has_are_no_reason_to_read(serving, fronting):
    limits = []
    server = serving(reply=lambda request: limits.append(request.max_tokens) or "Hello.", window=600)
    assert ask(server, "Hi!", max_tokens=600).choices[0].message.content == "Hello."
    assert 0 < limits[0] < 600
    behind, _ = fronting(reply="Hello.", window=600)
    assert ask(behind, "Hi!", max_tokens=600).choices[0].message.content == "Hello."


def thinking(request):
    """The oracle, which thinks before it answers."""
    from tests.reading.oracle import SECTION, oracle

    return oracle(request) if SECTION.search(request.prompt.text) else "Let me think about it. \\boxed{forty two}"


def test_a_bound_is_the_answers_and_not_that_of_the_thoughts_before_it(serving):
    server = serving(reply=thinking)
    for temperature in (0, 0.7):
        choice = ask(server, max_tokens=8, temperature=temperature).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("forty two", "stop")
        assert ask(server, max_tokens=1, temperature=temperature).choices[0].finish_reason == "length"


def test_what_ends_an_answer_is_told_as_it_is(serving):
    server = serving(reply=thinking)
    stopped = ask(server, stop=[" two", "ty"], max_tokens=2).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("for", "stop")
    cut = serving(settings=replace(GATED, answer_tokens=3))
    assert ask(cut).choices[0].finish_reason == "length"


def test_drawn_answers_count(serving):
    server = serving(reply=thinking)
    one, five = (ask(server, n=n, temperature=0.7).usage for n in (1, 5))
    assert five.completion_tokens > one.completion_tokens and five.prompt_tokens > one.prompt_tokens


def test_a_client_that_goes_away_frees_the_endpoint(fronting):
    server, endpoint = fronting(reply="Hello.", window=8192)
    endpoint.faults.append(Fault(stall=30))
    with pytest.raises(openai.APITimeoutError):
        client(server).with_options(timeout=0.5).chat.completions.create(
            model="memagent", messages=[{"role": "user", "content": "Hi!"}]
        )
    deadline = time.monotonic() + 5
    while server.service._work:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_ends_says_so(serving):
    model = Held(window=600)
    server = serving(model=model)
    replies, sdk = [], client(server)

    def plainly():
        try:
            replies.append(ask(server))
        except openai.APIStatusError as error:
            replies.append(error.status_code)

    def streaming():
        try:
            messages = [{"role": "user", "content": f"{TEXT}\n\nWhich keys?"}]
            for _ in sdk.chat.completions.create(model="memagent", messages=messages, stream=True):
                pass
        except openai.APIError as error:
            replies.append(str(error))

    threads = [threading.Thread(target=one) for one in (plainly, streaming)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while server.service.admission.running < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    server.loop.call_soon_threadsafe(server.service.end)
    for thread in threads:
        thread.join(10)
    assert 503 in replies and any("is ending" in str(one) for one in replies if one != 503), replies
