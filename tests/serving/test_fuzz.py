"""The API fuzzed from its own description: whatever is sent, no reply is the server's fault and each is in shape.

A drawn request names a model, file, feed or reading that does not exist; so every second one is given names that do.
"""

import collections
import os

import hypothesis
import openai
import pytest
import schemathesis
from hypothesis import HealthCheck
from tests.reading.oracle import MEMORY, document_text, oracle
from tests.serving.test_limits import post

EXAMPLES = int(os.environ.get("MEMAGENT_FUZZ", "60"))  # of each kind for each operation
POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
QUIET = hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def either(request):
    """Reads by rules, and chats."""
    return oracle(request) if MEMORY.search(request.prompt.text) else "Hello."


@pytest.fixture
def served(serving):
    """A server with one of everything, the names of that, and its description."""
    server = serving(reply=either)
    client = openai.OpenAI(base_url=server.url, api_key="none")
    kept = client.files.create(file=("keys.txt", document_text(20).encode()), purpose="user_data")
    feed = post(server, {"problem": "Which keys?"}, "/feeds").json()
    body = {"model": "memagent", "messages": [{"role": "user", "content": "Which keys?"}], "file_ids": [kept.id]}
    read = post(server, body).json()["memagent"]["reading_id"]
    names = {"/v1/files": kept.id, "/v1/feeds": feed["id"], "/v1/models": "memagent", "/api/readings": read}
    return server, names, schemathesis.openapi.from_url(f"{server.root}/openapi.json")


def existing(case, names):
    """The request with names of things that are there."""
    for place, name in names.items():
        if case.path.startswith(f"{place}/{{"):
            case.path_parameters = dict.fromkeys(case.path_parameters, name)
    if isinstance(case.body, dict) and "model" in case.body:
        case.body = {**case.body, "model": "memagent"}
    return case


@pytest.mark.parametrize("kind", [POSITIVE, NEGATIVE], ids=lambda kind: kind.value)
def test_whatever_is_sent_no_reply_is_the_servers_fault(served, kind):
    server, names, schema = served
    seen = collections.Counter()

    def ask(case, known):
        asked = existing(case, names) if known else case
        reply = asked.call(base_url=server.root, timeout=20)
        seen[reply.status_code // 100] += 1
        assert reply.status_code < 500, f"{reply.status_code} {reply.text[:300]}"
        if reply.status_code >= 400:
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}, reply.text[:300]

    for found in schema.get_all_operations():
        operation = found.ok()
        if kind is POSITIVE or operation.body:
            given = {"case": operation.as_strategy(generation_mode=kind), "known": hypothesis.strategies.booleans()}
            QUIET(hypothesis.given(**given)(ask))()
    print(kind.value, dict(seen))
    assert seen[4] > 20 and (kind is NEGATIVE or seen[2] > 20)
    assert server.service.admission.running == 0
