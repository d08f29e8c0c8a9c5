"""What the page asks of the server: readings and their turns, texts, reading on; and what it must not be able to do."""

import time

import httpx2
import pytest
from tests.reading.oracle import document_text
from tests.serving.conftest import Held

TEXT = document_text(40)
FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]


def get(server, path, key="", **given):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.get(server.root + path, headers=headers, timeout=30, **given)


def post(server, path, body, key=""):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.post(server.root + path, json=body, headers=headers, timeout=30)


def uploaded(server, text=TEXT, key="", name="book.txt"):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    reply = httpx2.post(f"{server.url}/files", files={"file": (name, text.encode())}, headers=headers, timeout=30)
    return reply.json()["id"]


def finished(server, identity, key=""):
    for _ in range(200):
        found = get(server, f"/api/readings/{identity}", key).json()
        if not found["running"]:
            return found
        time.sleep(0.05)
    raise AssertionError("the reading does not end")


def begun(server, key="", problem="Which keys?"):
    reply = post(server, "/api/readings", {"file_ids": [uploaded(server, key=key)], "problem": problem}, key)
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


def test_a_reading_is_begun_looked_at_and_listed(serving):
    server = serving()
    found = finished(server, begun(server))
    assert found["result"]["answer"] == " ".join(FACTS) and found["document"] == "book.txt"
    turns = found["turns"]
    assert len(turns["outcomes"]) == len(turns["starts"]) == len(turns["ends"]) == found["total"]
    assert [turns["outcomes"][one["at"]] for one in turns["changes"]] == ["a"] * len(turns["changes"])
    assert turns["changes"][-1]["memory"] == found["result"]["memory"]
    (listed,) = get(server, "/api/readings").json()
    assert (listed["problem"], listed["answer"], listed["running"]) == ("Which keys?", found["result"]["answer"], False)


def test_only_what_is_new_is_told_again(serving):
    server = serving()
    whole = finished(server, begun(server))
    later = get(server, f"/api/readings/{whole['id']}?after=5").json()["turns"]
    assert later["outcomes"] == whole["turns"]["outcomes"][5:]
    assert later["changes"] == [one for one in whole["turns"]["changes"] if one["at"] >= 5]


def test_the_text_of_a_chunk_and_its_evidence(serving):
    server = serving()
    found = finished(server, begun(server))
    one = found["result"]["evidence"][0]
    place = f"/api/readings/{found['id']}/text?start={one['start']}&end={one['end']}"
    assert get(server, place).json()["text"] == one["quote"] == TEXT[one["start"] : one["end"]]


def test_reading_on_with_an_edited_memory_makes_another_reading(serving):
    server = serving()
    first = finished(server, begun(server))
    change = first["turns"]["changes"][1]
    end = first["turns"]["ends"][change["at"]]
    reply = post(server, f"/api/readings/{first['id']}/on", {"characters": end, "memory": "Key 99 is mine."})
    second = finished(server, reply.json()["id"])
    assert second["id"] != first["id"]
    assert second["start"] == {"memory": "Key 99 is mine.", "characters": end, "sure": {}}
    assert second["result"]["memory"].startswith("Key 99 is mine.\nKey 17")
    assert finished(server, first["id"])["result"] == first["result"]


def test_each_key_sees_its_own(serving):
    server = serving(keys=("a-key", "b-key"))
    found = finished(server, begun(server, "a-key"), "a-key")
    assert get(server, "/api/readings").status_code == 401
    assert get(server, "/api/readings", "b-key").json() == []
    for path in (f"/api/readings/{found['id']}", f"/api/readings/{found['id']}/text?start=0&end=9"):
        assert get(server, path, "b-key").status_code == 404
    body = {"characters": 0, "memory": ""}
    assert post(server, f"/api/readings/{found['id']}/on", body, "b-key").status_code == 404


def test_a_text_that_was_not_kept_is_said_to_be_so(serving):
    server = serving()
    messages = [{"role": "user", "content": f"{TEXT}\n\nWhich keys?"}]
    told = post(server, "/v1/chat/completions", {"model": "memagent", "messages": messages}).json()["memagent"]
    reply = get(server, f"/api/readings/{told['reading_id']}/text?start=0&end=9")
    assert reply.status_code == 400 and "was not kept" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/style.css", "/page/vendor/htm-preact.js"])
def test_the_page_runs_nothing_but_its_own_files(serving, path):
    reply = get(serving(), path)
    assert reply.status_code == 200 and reply.headers["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in reply.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/page/../inspector.py", "/page/%2e%2e/inspector.py", "/page//etc/passwd", "/page/x"])
def test_no_other_file_is_served(serving, path):
    assert get(serving(), path).status_code == 404


def test_evaluations_are_listed_and_opened_in_a_sandbox(serving, tmp_path):
    (tmp_path / "evaluations" / "first").mkdir(parents=True)
    (tmp_path / "evaluations" / "first" / "report.html").write_text("<h1>Scores</h1>")
    server = serving(evaluations=tmp_path / "evaluations")
    ((name, url),) = [one.values() for one in get(server, "/api/evaluations").json()]
    reply = get(server, url)
    assert name == "first" and reply.text == "<h1>Scores</h1>"
    assert reply.headers["content-security-policy"].startswith("sandbox")
    (tmp_path / "report.html").write_text("not to be shown")
    for path in ("..%2f..%2fsecret", "%2e%2e", "..", "."):
        assert get(server, f"/evaluations/{path}/report.html").status_code == 404


def test_with_keys_a_report_needs_a_pass(serving, tmp_path):
    (tmp_path / "evaluations" / "first").mkdir(parents=True)
    (tmp_path / "evaluations" / "first" / "report.html").write_text("<h1>Scores</h1>")
    server = serving(evaluations=tmp_path / "evaluations", keys=("a-key",))
    assert get(server, "/evaluations/first/report.html").status_code == 401
    (listed,) = get(server, "/api/evaluations", "a-key").json()
    assert get(server, listed["url"]).text == "<h1>Scores</h1>"


def test_another_name_for_this_machine_is_not_answered(serving):
    server = serving(hosts=("127.0.0.1", "localhost"))
    assert get(server, "/health").status_code == 200
    assert httpx2.get(f"{server.root}/health", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("path", ["/page/%00", "/page/" + "x" * 5000, "/api/readings/x?after=100000000000000000000"])
def test_odd_paths_are_the_clients_fault(serving, path):
    assert get(serving(), path).status_code in (400, 404)


def test_evidence_of_several_files_has_its_place_in_the_document(serving):
    server = serving()
    ids = [uploaded(server, "Nothing is here.\n" * 40, name="a.txt"), uploaded(server, name="b.txt")]
    reply = post(server, "/api/readings", {"file_ids": ids, "problem": "Which keys?"})
    found = finished(server, reply.json()["id"])
    for one in [*found["result"]["evidence"], *(e for c in found["turns"]["changes"] for e in c["evidence"])]:
        end = one["at"] + one["end"] - one["start"]
        place = f"/api/readings/{found['id']}/text?start={one['at']}&end={end}"
        assert one["source"] == "b.txt" and get(server, place).json()["text"] == one["quote"]


def test_the_same_again_goes_on_and_is_not_paid_twice(serving):
    model = Held(after=12, window=600)
    server = serving(model=model)
    stored = uploaded(server)
    asked = {"file_ids": [stored], "problem": "Which keys?"}
    first = post(server, "/api/readings", asked).json()["id"]
    assert model.began.wait(10)
    server.loop.call_soon_threadsafe(server.service.end)
    model.go.set()
    assert finished(server, first)["result"] is None
    resumed = finished(server, post(server, f"/api/readings/{first}/resume", {}).json()["id"])
    assert resumed["id"] == first and resumed["result"]["answer"] == " ".join(FACTS)
    calls = len(model.requests)
    assert post(server, "/api/readings", asked).json()["id"] == first and len(model.requests) == calls
    assert 'memagent_readings_total{status="answered"} 1.0' in get(server, "/metrics").text


def test_a_key_does_not_go_on_with_anothers_reading(serving):
    server = serving(keys=("a-key", "b-key"))
    found = []
    for key in ("a-key", "b-key"):
        messages = [{"role": "user", "content": f"{TEXT}\n\nWhich keys?"}]
        told = post(server, "/v1/chat/completions", {"model": "memagent", "messages": messages}, key).json()
        found.append(told["memagent"]["reading_id"])
        assert get(server, f"/api/readings/{found[-1]}", key).status_code == 200
    assert found[0] != found[1]


def test_halves_of_characters_do_no_harm(serving):
    server = serving()
    first = finished(server, begun(server))
    body = b'{"characters": 10, "memory": "half \\ud800 of one"}'
    reply = httpx2.post(
        f"{server.root}/api/readings/{first['id']}/on", content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 200
    assert finished(server, reply.json()["id"])["start"]["memory"] == "half ? of one"
