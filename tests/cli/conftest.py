"""A command line of one's own: its journal in a temporary folder, its model behind the live endpoint."""

import json
import threading
from dataclasses import dataclass

import pytest

from memagent.cli import run
from memagent.reading import Journal


@dataclass
class Result:
    """How a command ended; `line` is what it said on stderr, if that was one line."""

    status: int
    out: str
    err: str

    @property
    def line(self):
        lines = [line for line in self.err.splitlines() if line.startswith("memagent: ")]
        assert len(lines) == 1, self.err
        return lines[0]

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """Nothing of the user's own is read or written."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MEMAGENT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data" / "memagent"


@pytest.fixture
def memagent(capfd):
    """Run a command in this process."""

    def call(*arguments):
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Result(status, captured.out, captured.err)

    return call


@pytest.fixture
def ask(memagent, endpoint):
    """Run `memagent ask` with the live endpoint's model and small chunks."""

    def call(*arguments, url=None):
        small = ("--chunk-tokens", 200, "--memory-tokens", 100, "--retries", 1)
        return memagent("ask", *arguments, "--model", "fake", "--base-url", url or endpoint.url, *small)

    return call


@pytest.fixture
def journal(home):
    return Journal(home)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Retries do not wait."""
    monkeypatch.setattr("memagent.models.openai.pause", lambda failures, retry_after: 0.0)


@pytest.fixture
def threads_end():
    """No thread outlives the test."""
    before = threading.active_count()
    yield
    assert threading.active_count() <= before
