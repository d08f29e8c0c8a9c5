"""A source that is posted to in parts is read as it comes, and asked at any time."""

import asyncio
import time

import httpx2
import pytest
from tests.reading.oracle import document_text, oracle

from memagent.models import ScriptedModel

TEXT = document_text(40)
FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]


class Slow(ScriptedModel):
    """Takes its time for each call."""

    async def generate(self, request):
        await asyncio.sleep(0.01)
        return await super().generate(request)


def call(server, method, path, body=None, key="any"):
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.request(method, f"{server.url}/feeds{path}", json=body, headers=headers, timeout=30)


def created(server, key="any"):
    return call(server, "POST", "", {"problem": "Which keys?"}, key).json()["id"]


def test_parts_are_read_as_they_come(serving):
    server = serving()
    identity = created(server)
    for at in range(0, len(TEXT), 2500):
        assert call(server, "POST", f"/{identity}/parts", {"text": TEXT[at : at + 2500]}).status_code == 200
    deadline = time.monotonic() + 20
    while (told := call(server, "GET", f"/{identity}").json())["read"] < len(TEXT):
        assert time.monotonic() < deadline and told["error"] is None
        time.sleep(0.05)
    assert told["characters"] == len(TEXT) and told["memory"].splitlines() == FACTS
    assert told["answer"] == " ".join(FACTS)


def test_a_feed_can_be_asked_at_any_time(serving):
    server = serving()
    identity = created(server)
    assert call(server, "POST", f"/{identity}/answer").status_code == 400
    half = len(TEXT) // 2
    call(server, "POST", f"/{identity}/parts", {"text": TEXT[:half]})
    first = call(server, "POST", f"/{identity}/answer").json()
    assert first["answer"] == " ".join(fact for fact in FACTS if TEXT.index(fact) < half) and first["read"] == half
    calls = len(server.model.requests)
    assert call(server, "POST", f"/{identity}/answer").json() == first and len(server.model.requests) == calls
    call(server, "POST", f"/{identity}/parts", {"text": TEXT[half:]})
    last = call(server, "POST", f"/{identity}/answer").json()
    assert last["answer"] == " ".join(FACTS)
    assert all(TEXT[one["start"] : one["end"]] == one["quote"] for one in last["evidence"])


def test_a_feed_outlives_the_server(serving):
    server = serving()
    identity = created(server)
    call(server, "POST", f"/{identity}/parts", {"text": TEXT[:6000]})
    before = call(server, "POST", f"/{identity}/answer").json()
    again = serving()
    told = call(again, "GET", f"/{identity}").json()
    assert (told["memory"], told["read"], told["characters"]) == (before["memory"], 6000, 6000)
    call(again, "POST", f"/{identity}/parts", {"text": TEXT[6000:]})
    assert call(again, "POST", f"/{identity}/answer").json()["answer"] == " ".join(FACTS)
    assert len(again.model.requests) < len(server.model.requests) + 10


def test_each_key_has_its_own(serving):
    server = serving(keys=("a-key", "b-key"))
    identity = created(server, "a-key")
    for method, path in (("GET", ""), ("POST", "/answer")):
        assert call(server, method, f"/{identity}{path}", key="b-key").status_code == 404
    assert call(server, "POST", f"/{identity}/parts", {"text": "x"}, "b-key").status_code == 404
    assert call(server, "GET", "/feed-..%2f..", key="a-key").status_code == 404


def test_a_feed_has_a_bound(serving):
    server = serving(body_mib=1)
    identity = created(server)
    part = {"text": "word " * 150_000}
    assert call(server, "POST", f"/{identity}/parts", part).status_code == 200
    assert call(server, "POST", f"/{identity}/parts", part).status_code == 413


def test_parts_may_come_while_it_is_read(serving):
    server = serving(model=Slow(oracle, window=600))
    identity = created(server)
    for at in range(0, len(TEXT), 1000):
        assert call(server, "POST", f"/{identity}/parts", {"text": TEXT[at : at + 1000]}).status_code == 200
        time.sleep(0.02)
    told = call(server, "POST", f"/{identity}/answer").json()
    assert told["error"] is None and told["answer"] == " ".join(FACTS) and told["read"] == len(TEXT)


@pytest.mark.parametrize("text", [" \n ", "\ufeffword", "a\x1b(Jb", "a\0b", "one\r\ntwo"])
def test_whatever_is_posted_is_read_once(serving, text):
    server = serving()
    identity = created(server)
    call(server, "POST", f"/{identity}/parts", {"text": text})
    feed = next(iter(server.feeds._open.values()))
    deadline = time.monotonic() + 10
    while not (feed.task and feed.task.done()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    calls = len(server.model.requests)
    time.sleep(0.2)
    assert len(server.model.requests) == calls <= 2 and feed.error is None
    again = serving()
    assert call(again, "GET", f"/{identity}").json()["characters"] == feed.characters


def test_feeds_are_listed_and_forgotten(serving):
    server = serving()
    one, other = created(server), created(server)
    call(server, "POST", f"/{one}/parts", {"text": TEXT})
    assert {feed["id"] for feed in call(server, "GET", "").json()["data"]} == {one, other}
    assert call(server, "DELETE", f"/{one}").json() == {"id": one, "object": "feed", "deleted": True}
    assert call(server, "GET", f"/{one}").status_code == 404
    assert [feed["id"] for feed in call(server, "GET", "").json()["data"]] == [other]


def test_all_feeds_together_have_a_bound(serving):
    server = serving(body_mib=1, files_mib=1)
    part = {"text": "word " * 120_000}
    assert call(server, "POST", f"/{created(server)}/parts", part).status_code == 200
    assert call(server, "POST", f"/{created(server)}/parts", part).status_code == 413
