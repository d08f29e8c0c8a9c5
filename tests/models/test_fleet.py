"""Several endpoints as one model: calls spread, move off one that fails, come back, and nothing else changes."""

import asyncio
import contextlib

import pytest
from tests.fake_endpoint import FakeEndpoint, Fault
from tests.reading.oracle import document_text, oracle
from tests.serving.conftest import as_request

from memagent import Reader, Settings, open_document
from memagent.errors import EndpointDown, EndpointUnreachable, OptionError, SetupError, TurnRefused
from memagent.models import ModelOptions, open_model
from memagent.models.base import Prompt, Request
from memagent.models.endpoint import spread
from memagent.models.fleet import Fleet
from memagent.models.openai import OpenAIModel

GATED = Settings(protocol="gated", chunk_tokens=80, memory_tokens=200, read_ahead=12)
DOWN = Fault(status=503, body={"error": {"message": "loading"}})


def asks(text="hello"):
    return Request(prompt=Prompt(segments=(text,)), max_tokens=10)


@pytest.fixture
def endpoints():
    with contextlib.ExitStack() as held:
        yield [held.enter_context(FakeEndpoint(lambda body: oracle(as_request(body)))) for _ in range(3)]


@pytest.fixture
async def fleet(endpoints):
    urls = ",".join(endpoint.url for endpoint in endpoints)
    model = await open_model(ModelOptions(model="fake", base_url=urls, concurrency=4, retries=2, window=4096))
    yield model
    await model.aclose()


@pytest.fixture(autouse=True)
def short_rests(monkeypatch):
    monkeypatch.setattr("memagent.models.fleet.pause", lambda failures, retry_after: 0.05)


def talk(*endpoints):
    """Endpoints that take a moment and answer with their number."""
    for number, endpoint in enumerate(endpoints):
        endpoint.reply = lambda body, number=number: str(number)
        endpoint.delay = 0.02


async def test_calls_are_spread_by_load(endpoints, fleet):
    talk(*endpoints)
    endpoints[2].delay = 0.2
    replies = [one.text for one in await asyncio.gather(*(fleet.generate(asks(str(n))) for n in range(40)))]
    assert max(endpoint.most_in_flight for endpoint in endpoints) == 4
    assert replies.count("0") > 2 * replies.count("2") and replies.count("2") >= 4


async def test_a_document_is_read_by_all(endpoints, fleet):
    for endpoint in endpoints:
        endpoint.delay = 0.02
    reading = await Reader(fleet, GATED).read(open_document(text=document_text(80)), "Which keys have a value?")
    assert "Key 73 is value73." in reading.answer
    assert all(len(endpoint.bodies) > 8 for endpoint in endpoints)


async def test_one_that_is_lost_changes_no_reading_and_takes_its_share_when_it_is_back(endpoints, fleet):
    problem, document = "Which keys have a value?", open_document(text=document_text(80))
    whole = await Reader(fleet, GATED).read(document, problem)
    lost, port = endpoints[1], endpoints[1]._port
    for endpoint in endpoints:
        endpoint.delay = 0.02

    async def lose():
        await asyncio.sleep(0.1)
        await asyncio.to_thread(lost.stop)

    again, _ = await asyncio.gather(Reader(fleet, GATED).read(document, problem), lose())
    assert (again.answer, again.memory, again.coverage) == (whole.answer, whole.memory, whole.coverage)
    assert any("failed" in note and str(port) in note for note in fleet.notes)
    talk(*endpoints)
    with FakeEndpoint("here again", port=port) as back:
        await asyncio.sleep(0.1)
        await asyncio.gather(*(fleet.generate(asks(str(n))) for n in range(30)))
        assert len(back.bodies) > 3


async def test_one_that_has_failed_is_tried_with_one_call_first(endpoints, fleet):
    talk(*endpoints)
    endpoints[0].faults.append(DOWN)
    await asyncio.gather(*(fleet.generate(asks(str(n))) for n in range(3)))
    await asyncio.sleep(0.06)
    endpoints[0].most_in_flight, endpoints[0].delay = 0, 0.3
    tried = [asyncio.ensure_future(fleet.generate(asks(f"again {n}"))) for n in range(12)]
    await asyncio.sleep(0.1)
    assert endpoints[0].most_in_flight == 1
    await asyncio.gather(*tried)


async def test_where_all_are_gone_the_reading_stops_and_can_go_on(endpoints, fleet):
    talk(*endpoints)
    await fleet.generate(asks())
    for endpoint in endpoints:
        endpoint.stop()
    with pytest.raises(EndpointDown, match="after 9 tries"):
        await fleet.generate(asks())


async def test_where_none_was_ever_there_it_is_a_matter_of_setup():
    options = ModelOptions(model="fake", base_url="http://127.0.0.1:1/v1,http://127.0.0.1:2/v1", retries=0)
    with pytest.raises(EndpointUnreachable):
        await open_model(options)


async def test_one_that_is_not_there_yet_is_told_and_does_without(endpoints):
    urls = f"{endpoints[0].url},http://127.0.0.1:1/v1"
    model = await open_model(ModelOptions(model="fake", base_url=urls, window=4096))
    endpoints[0].reply = lambda body: "fine"
    assert (await model.generate(asks())).text == "fine"
    assert any("127.0.0.1:1" in note for note in model.notes)
    await model.aclose()


async def test_the_smallest_window_counts(endpoints):
    for number, endpoint in enumerate(endpoints):
        endpoint.models = {"data": [{"id": "fake", "max_model_len": 4096 + 1000 * number}]}
    model = await open_model(ModelOptions(model="fake", base_url=",".join(one.url for one in endpoints)))
    assert model.window == 4096 and model.suggests == {"read_ahead": 24}
    await model.aclose()


async def test_one_that_refuses_the_key_is_left_and_all_that_do_end_it(endpoints, fleet):
    talk(*endpoints)
    no = Fault(status=401, body={"error": {"message": "no such key"}})
    endpoints[0].faults.append(no)
    assert (await fleet.generate(asks())).text in "12"
    for endpoint in endpoints:
        endpoint.faults.extend([no] * 9)
    fleet._spread.places[0].rests_until = 0.0
    with pytest.raises(SetupError, match="refuses the key"):
        await fleet.generate(asks())


async def test_a_caller_that_gives_up_leaves_its_place_to_the_next():
    places = spread.Spread(["a"], most=1)
    first = await places.take()
    gone, next_one = asyncio.ensure_future(places.take()), asyncio.ensure_future(places.take())
    await asyncio.sleep(0)
    places.release(first)
    gone.cancel()
    assert (await asyncio.wait_for(next_one, 1)).one == "a"


def test_an_identity_says_nothing_of_addresses():
    members = [OpenAIModel("fake", base_url=f"http://127.0.0.1:{port}/v1") for port in (1, 2)]
    assert Fleet(members).identity == members[0].identity
    with pytest.raises(OptionError):
        Fleet([])
    told = ModelOptions(model="x", base_url="http://me:pass@one/v1?token=t, https://two/v1").as_json()["base_url"]
    assert told == "http://one/v1,https://two/v1"


REFUSED = Fault(status=400, body={"error": {"message": "Bad Request"}})
TOO_LONG = Fault(status=400, body={"error": {"message": "This model's maximum context length is 512 tokens"}})


@pytest.mark.parametrize("fault", [REFUSED, TOO_LONG, Fault(status=405, body={"error": {"message": "no"}})])
async def test_a_call_that_one_refuses_and_another_answers_is_answered(endpoints, fleet, fault):
    talk(*endpoints)
    endpoints[0].faults += [fault] * 50
    replies = [(await fleet.generate(asks(str(number)))).text for number in range(6)]
    assert set(replies) <= {"1", "2"} and any("failed" in note for note in fleet.notes)


async def test_what_two_refuse_is_refused(endpoints, fleet):
    talk(*endpoints)
    for endpoint in endpoints:
        endpoint.faults += [Fault(status=400, body={"error": {"message": "content filter"}})] * 3
    with pytest.raises(TurnRefused):
        await fleet.generate(asks("something bad"))
    assert sum(len(endpoint.bodies) for endpoint in endpoints) == 2


async def test_a_refusal_does_not_wait_for_those_that_are_down(endpoints, monkeypatch):
    urls = ",".join(endpoint.url for endpoint in endpoints[:2])
    model = await open_model(ModelOptions(model="fake", base_url=urls, retries=5, window=4096))
    talk(*endpoints)
    endpoints[0].stop()
    monkeypatch.setattr("memagent.models.fleet.pause", lambda failures, retry_after: 30.0)
    await asyncio.gather(*(model.generate(asks(str(number))) for number in range(4)))
    endpoints[1].faults += [Fault(status=400, body={"error": {"message": "content filter"}})] * 3
    with pytest.raises(TurnRefused):
        await asyncio.wait_for(model.generate(asks("something bad")), 5)
    await model.aclose()


async def test_one_that_fails_at_once_does_not_use_up_the_tries(endpoints, monkeypatch):
    monkeypatch.setattr("memagent.models.fleet.pause", lambda failures, retry_after: 0.0)
    urls = ",".join(endpoint.url for endpoint in endpoints)
    model = await open_model(ModelOptions(model="fake", base_url=urls, retries=0, concurrency=1, window=4096))
    talk(*endpoints)
    endpoints[0].faults += [DOWN] * 50
    replies = [(await model.generate(asks(str(number)))).text for number in range(6)]
    assert set(replies) <= {"1", "2"}
    await model.aclose()


def test_addresses_that_are_none_and_that_are_the_same():
    with pytest.raises(OptionError, match="no address"):
        _ = ModelOptions(model="m", base_url=" , ").addresses
    same = ModelOptions(model="m", base_url="http://h/v1,http://h/v1/").addresses
    assert same == ("http://h/v1",)
