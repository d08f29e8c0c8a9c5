"""Keys, queues, sizes and what is wrong with a request: the right status, and a body as OpenAI's."""

import threading
import time

import httpx2
import openai
import pytest
from tests.fake_endpoint import Fault
from tests.reading.oracle import document_text
from tests.serving.conftest import Held

MESSAGES = [{"role": "user", "content": f"{document_text(20)}\n\nWhich keys?"}]
BODY = {"model": "memagent", "messages": MESSAGES}


def body_of(number):
    return {**BODY, "messages": [{"role": "user", "content": f"{document_text(20)}\n\nWhich keys, {number}?"}]}


def until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def post(server, body=None, path="/chat/completions", key="any", **given):
    headers = {"Authorization": f"Bearer {key}"} | given.pop("headers", {})
    return httpx2.post(server.url + path, json=body, headers=headers, timeout=30, **given)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**BODY, "messages": []}, "messages"),
        ({**BODY, "messages": "hello"}, "messages"),
        ({"messages": MESSAGES}, "model"),
        ({**BODY, "temperature": 9}, "temperature"),
        ({**BODY, "n": 0}, "n:"),
        ({**BODY, "max_tokens": -1}, "max_tokens"),
        ({**BODY, "stream": "perhaps"}, "stream"),
        ({**BODY, "messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({**BODY, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "image_url"),
        ({**BODY, "file_ids": ["../../etc/passwd"]}, "no file"),
        ({**BODY, "documents": ["a"], "read": False}, "read"),
        ({**BODY, "read": True, "messages": [{"role": "user", "content": "Hi."}]}, "no problem and document"),
        ([1, 2], "dict"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_openais_shape(serving, body, said):
    reply = post(serving(), body)
    assert reply.status_code in (400, 404), reply.text
    error = reply.json()["error"]
    assert said in error["message"] or said in (error["param"] or ""), error
    assert error["type"] == "invalid_request_error" and set(error) == {"message", "type", "param", "code"}


def test_a_body_that_is_no_json(serving):
    server = serving()
    for raw in (b"{", b"\xff\xfe", b"", b"nul"):
        reply = httpx2.post(f"{server.url}/chat/completions", content=raw, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400 and reply.json()["error"]["message"]


def test_a_body_beyond_the_bound_is_a_413(serving):
    server = serving(body_mib=1)
    big = {**BODY, "messages": [{"role": "user", "content": "x" * 2**21}]}
    assert post(server, big).status_code == 413

    def endless():
        for _ in range(64):
            yield b"x" * 2**16

    headers = {"Content-Type": "application/json"}
    assert httpx2.post(f"{server.url}/chat/completions", content=endless(), headers=headers).status_code == 413


def test_only_those_with_a_key_come_in(serving):
    server = serving(keys=("secret-one", "secret-two"))
    for path in ("/models", "/files"):
        assert httpx2.get(server.url + path).status_code == 401
    assert httpx2.get(f"{server.root}/metrics").status_code == 401
    assert httpx2.get(f"{server.root}/health").status_code == 200
    wrong = post(server, BODY, key="secret")
    assert wrong.status_code == 401 and wrong.json()["error"]["code"] == "invalid_api_key"
    assert post(server, BODY, key="secret-two").status_code == 200


def test_a_model_that_is_not_here(serving):
    server = serving()
    reply = post(server, {**BODY, "model": "gpt-9"})
    assert reply.status_code == 404 and reply.json()["error"]["code"] == "model_not_found"
    client = openai.OpenAI(base_url=server.url, api_key="any")
    assert [one.id for one in client.models.list()] == ["scripted", "memagent"]
    assert client.models.retrieve("memagent").id == "memagent"


def test_a_full_queue_says_when_to_come_back(serving):
    model = Held(window=600)
    server = serving(model=model, at_once=1, queue=1)
    replies = []
    bodies = [body_of(number) for number in range(3)]
    threads = [threading.Thread(target=lambda body=body: replies.append(post(server, body))) for body in bodies[:2]]
    threads[0].start()
    assert model.began.wait(10)
    threads[1].start()
    until(lambda: server.service.admission.waiting)
    turned_away = post(server, bodies[2])
    assert turned_away.status_code == 429 and int(turned_away.headers["retry-after"]) >= 1
    assert httpx2.get(f"{server.root}/health").json()["waiting"] == 1
    model.go.set()
    for thread in threads:
        thread.join(20)
    assert [reply.status_code for reply in replies] == [200, 200]


def test_one_key_cannot_take_all_places(serving):
    model = Held(window=600)
    server = serving(model=model, at_once=4, per_key=1, keys=("a-key", "b-key"))
    threads = [threading.Thread(target=post, args=(server, BODY), kwargs={"key": "a-key"})]
    threads[0].start()
    assert model.began.wait(10)
    assert post(server, BODY, key="a-key").status_code == 429
    threads.append(threading.Thread(target=post, args=(server, BODY), kwargs={"key": "b-key"}))
    threads[1].start()
    until(lambda: server.service.admission.running == 2)
    model.go.set()
    for thread in threads:
        thread.join(20)


def test_sixty_four_at_once(serving):
    server = serving(at_once=64, queue=64)
    replies = []

    def one(number):
        body = body_of(number)
        replies.append(post(server, body).status_code)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert replies == [200] * 64


def test_files_are_uploaded_once_and_asked_many_times(serving):
    server = serving(keys=("a-key", "b-key"), window=8192)
    mine, others = (openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) for key in ("a-key", "b-key"))
    stored = mine.files.create(file=("book.txt", document_text(20).encode()), purpose="user_data")
    assert stored.filename == "book.txt" and [one.id for one in mine.files.list()] == [stored.id]
    for question in ("Which keys?", "What are the keys?"):
        messages = [{"role": "user", "content": question}]
        reply = mine.chat.completions.create(model="memagent", messages=messages, extra_body={"file_ids": [stored.id]})
        assert reply.choices[0].message.content.startswith("Key 3 is value3.")
        assert reply.choices[0].message.annotations[0].document_citation["source"] == "book.txt"
    assert mine.files.content(stored.id).text == document_text(20)
    assert list(others.files.list()) == []
    with pytest.raises(openai.NotFoundError):
        others.files.retrieve(stored.id)
    with pytest.raises(openai.NotFoundError):
        messages = [{"role": "user", "content": "Which keys?"}]
        others.chat.completions.create(model="memagent", messages=messages, extra_body={"file_ids": [stored.id]})
    assert mine.files.delete(stored.id).deleted and list(mine.files.list()) == []


@pytest.mark.parametrize("name", ["../../escape.txt", "..\\..\\escape.txt", "/etc/passwd", ".", "a\nb.txt", "x" * 300])
def test_a_files_name_leads_nowhere(serving, tmp_path, name):
    server = serving()
    reply = httpx2.post(f"{server.url}/files", files={"file": (name, b"Some text.")}, data={"purpose": "user_data"})
    assert reply.status_code == 200, reply.text
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("journal")]
    assert written and all("files" in path.parts for path in written)


def test_a_file_that_no_document_can_be_made_of(serving):
    server = serving()
    for content in (b"", b"\x00\x01\x02" * 100, b"%PDF-1.4 broken"):
        reply = httpx2.post(f"{server.url}/files", files={"file": ("a.bin", content)})
        assert reply.status_code == 400 and "/" not in reply.json()["error"]["message"].split(":")[0]
    assert httpx2.get(f"{server.url}/files").json()["data"] == []


def test_metrics_count(serving):
    server = serving()
    post(server, BODY)
    post(server, {**BODY, "model": "none"})
    text = httpx2.get(f"{server.root}/metrics").text
    assert 'memagent_requests_total{route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'memagent_requests_total{route="/v1/chat/completions",status="404"} 1.0' in text
    assert 'memagent_readings_total{status="answered"} 1.0' in text and "memagent_running 0.0" in text


def test_a_full_queue_turns_streams_away_by_the_status(serving):
    model = Held(window=600)
    server = serving(model=model, at_once=1, queue=0)
    thread = threading.Thread(target=post, args=(server, BODY))
    thread.start()
    assert model.began.wait(10)
    turned_away = post(server, {**body_of(1), "stream": True})
    assert turned_away.status_code == 429 and int(turned_away.headers["retry-after"]) >= 1
    model.go.set()
    thread.join(20)


def test_what_goes_straight_through_counts_for_its_key(fronting):
    server, endpoint = fronting(reply="Hello.", window=8192, per_key=2)
    endpoint.faults += [Fault(stall=1.5)] * 2
    hi = {"model": "memagent", "messages": [{"role": "user", "content": "Hi!"}]}
    threads = [threading.Thread(target=post, args=(server, {**hi, "n": number + 1})) for number in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: server.service.admission._of_key.total() == 2)
    assert post(server, hi).status_code == 429
    for thread in threads:
        thread.join(20)
    assert post(server, hi).status_code == 200
    assert post(server, {**hi, "stream": True}).status_code == 200
    until(lambda: server.service.admission._of_key.total() == 0)


def test_a_body_is_not_looked_at_without_a_key(serving):
    server = serving(keys=("secret",))
    reply = httpx2.post(f"{server.url}/chat/completions", content=b"{", headers={"Content-Type": "application/json"})
    assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"


def test_a_page_of_another_site_may_not_post(serving):
    server = serving(hosts=("127.0.0.1", "localhost"))
    upload = {"files": {"file": ("a.txt", b"text")}}
    for origin, status in (("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)):
        reply = httpx2.post(f"{server.url}/files", headers={"Origin": origin}, **upload)
        assert reply.status_code == status, origin


@pytest.mark.parametrize("name", ["..", "a/..", ".", "橋" * 100, "\0", "con\n.txt", "x" * 300 + ".txt"])
def test_any_name_is_a_file(serving, name):
    server = serving()
    reply = post(server, path="/files", files={"file": (name, b"some text")})
    assert reply.status_code in (200, 400), reply.text
    if reply.status_code == 200:
        assert httpx2.get(f"{server.url}/files/{reply.json()['id']}/content").text == "some text"


def test_our_own_failures_are_told_in_openais_shape(serving, monkeypatch):
    server = serving()

    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("memagent.serving.service.Service.plan", fail)
    reply = post(server, BODY)
    assert reply.status_code == 500 and reply.json()["error"]["type"] == "server_error"
    assert 'status="500"' in httpx2.get(f"{server.root}/metrics").text
