"""`memagent eval` over several endpoints: what happens to one of them on the way changes no result."""

import contextlib
import json

import pytest
from tests.cli.test_eval import remembers, write_problems
from tests.fake_endpoint import FakeEndpoint, Fault

TOO_LONG = {"error": {"message": "This model's maximum context length is 512 tokens"}}
LOST = {
    "dies": None,
    "fails": Fault(status=500, body={"error": {"message": "EngineDeadError"}}),
    "refuses": Fault(status=400, body={"error": {"message": "Bad Request"}}),
    "shrinks": Fault(status=400, body=TOO_LONG),
    "asks to come back at once": Fault(status=503, headers={"Retry-After": "0"}, body={"error": {"message": "busy"}}),
}


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    """It takes longer than all the rest."""
    for name in ("draw_curve", "draw_cost"):
        monkeypatch.setattr(f"memagent.evaluation.reporting.{name}", lambda table, path: path.write_bytes(b""))


class Losing(FakeEndpoint):
    """Answers `after` calls, and is lost then as `fault` says (None: it stops)."""

    def __init__(self, reply, after, fault):
        super().__init__(reply)
        self.after, self.fault = after, fault

    async def _chat(self, *given):
        self.after -= 1
        if self.after < 0:
            self.faults.append(self.fault or Fault(close="before"))
        return await super()._chat(*given)


def evaluated(memagent, tmp_path, name, endpoints):
    urls = ",".join(endpoint.url for endpoint in endpoints)
    for endpoint in endpoints:
        endpoint.usage = lambda body, seen, said: None  # it has no tokenizer to speak of
    model = ("--model", "fake", "--base-url", urls, "--window", "2k", "--retries", 1)
    small = ("--protocol", "gated", "--chunk-tokens", 200, "--memory-tokens", 60, "-o", tmp_path / name)
    done = memagent("eval", write_problems(tmp_path / "problems.jsonl", count=6), *model, *small)
    assert done.status == 0, done.err
    lines = (tmp_path / name / "results.jsonl").read_text().splitlines()
    told = ("problem", "method", "status", "reply", "score")
    return sorted([one[name] for name in told] for one in map(json.loads, lines))


@pytest.mark.parametrize("what", LOST)
def test_one_of_three_that_is_lost_on_the_way_changes_no_result(memagent, tmp_path, monkeypatch, what):
    monkeypatch.setattr("memagent.models.fleet.pause", lambda failures, retry_after: 0.05)
    with contextlib.ExitStack() as held:
        alone = held.enter_context(FakeEndpoint(remembers))
        others = [held.enter_context(FakeEndpoint(remembers)) for _ in range(2)]
        losing = held.enter_context(Losing(remembers, 10, LOST[what]))
        wanted = evaluated(memagent, tmp_path, "one", [alone])
        assert evaluated(memagent, tmp_path, "three", [others[0], losing, others[1]]) == wanted
        assert losing.after < 0 and all(len(one.bodies) > 5 for one in others)
