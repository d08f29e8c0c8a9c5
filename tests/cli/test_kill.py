"""kill -9 at any moment costs no finished turn and changes no answer."""

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fake_endpoint import prompt_of
from tests.reading.oracle import document_text

ENDPOINT = Path(__file__).parents[1] / "fake_endpoint.py"


@pytest.fixture
def serve(tmp_path):
    """Start endpoints as processes of their own, which outlive the readers; gives (url, log)."""
    started = []

    def start(behaviour, delay=0.01):
        log = tmp_path / f"log-{len(started)}.jsonl"
        log.touch()
        command = [
            sys.executable,
            str(ENDPOINT),
            "--log",
            str(log),
            "--behaviour",
            behaviour,
            "--delay",
            str(delay),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process.stdout.readline().strip(), log

    yield start
    for process in started:
        process.kill()
        process.communicate()


def command(book, url, *more):
    sizes = ["--chunk-tokens", "60", "--memory-tokens", "60"]
    return [sys.executable, "-m", "memagent", "ask", str(book), "-q", "Why?", "--model", "fake",
            "--base-url", url, *sizes, *more, "--resume", "--json"]  # fmt: skip


def kill_after_some_turns(arguments, home, log, pause):
    """Run a reader, wait for its first new call and `pause` seconds more, and kill it."""
    before = log.stat().st_size
    reader = subprocess.Popen(arguments, env={**os.environ, "XDG_DATA_HOME": str(home)},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while log.stat().st_size == before and reader.poll() is None:
        time.sleep(0.002)
    time.sleep(pause)
    alive = reader.poll() is None
    reader.kill()
    reader.wait()
    return alive


def finish(arguments, home):
    done = subprocess.run(arguments, env={**os.environ, "XDG_DATA_HOME": str(home)}, capture_output=True, check=True)
    return json.loads(done.stdout)


def journalled(home):
    """The digests of all prompts whose reply the journal holds; the endpoint's `chain` puts them in its text."""
    database = sqlite3.connect(home / "memagent" / "journal.db")
    rows = database.execute("SELECT text FROM calls WHERE status = 'done'").fetchall()
    database.close()
    return [text.split()[1] for (text,) in rows]


def logged(log):
    bodies = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [hashlib.sha256(prompt_of(body).encode()).hexdigest()[:16] for body in bodies]


def test_twenty_kills(serve, tmp_path):
    book = tmp_path / "book.txt"
    book.write_text(document_text(320), encoding="utf-8")
    url, log = serve("chain")
    draw, home, kills = random.Random(7), tmp_path / "killed", 0
    for _ in range(20):
        before = set(journalled(home)) if kills else set()
        asked_before = len(logged(log))
        kills += kill_after_some_turns(command(book, url), home, log, draw.uniform(0.0, 0.08))
        # What was finished when this session began was not asked again by it.
        assert not before & set(logged(log)[asked_before:])
    assert kills == 20
    before, asked_before = set(journalled(home)), len(logged(log))
    reading = finish(command(book, url), home)
    assert not before & set(logged(log)[asked_before:])
    assert len(set(journalled(home))) == len(journalled(home)) == reading["usage"]["model_calls"]
    undisturbed = finish(command(book, serve("chain", 0.0)[0]), tmp_path / "calm")
    for name in ("answer", "memory", "status", "evidence", "coverage", "tally"):
        assert reading[name] == undisturbed[name], name


def test_kills_while_reading_ahead(serve, tmp_path):
    book = tmp_path / "book.txt"
    book.write_text(document_text(320), encoding="utf-8")
    url, log = serve("gated")
    draw, home = random.Random(11), tmp_path / "killed"
    ahead = ("--protocol", "gated", "--read-ahead", "4")
    for _ in range(5):
        assert kill_after_some_turns(command(book, url, *ahead), home, log, draw.uniform(0.0, 0.08))
    reading = finish(command(book, url, *ahead), home)
    one_by_one = finish(command(book, serve("gated", 0.0)[0], "--protocol", "gated"), tmp_path / "calm")
    for name in ("answer", "memory", "status", "evidence", "coverage"):
        assert reading[name] == one_by_one[name], name
