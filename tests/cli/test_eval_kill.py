"""kill -9 at any moment of an evaluation costs no finished turn and changes no result."""

import json
import os
import random
import sqlite3
import subprocess
import sys

from tests.cli import test_kill as kills

serve = kills.serve  # the fixture
KILLS = 3
SENTENCE = "On day {} of story {} the wind blew from the west and nobody thought of money.\n"


def write_problems(path, count=5, sentences=60):
    """Documents and questions of which no two share a prompt."""
    records = [
        {"question": f"Why story {number}?", "answers": ["none"], "task": f"task {number % 2}", "length": 2048,
         "context": "".join(SENTENCE.format(day, number) for day in range(sentences))}
        for number in range(count)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def command(problems, url, out):
    sizes = ["--chunk-tokens", "120", "--memory-tokens", "60", "--window", "2k", "--at-once", "3"]
    methods = ["--protocols", "paper", "--baseline", "map-reduce,no-context"]
    return [sys.executable, "-m", "memagent", "eval", str(problems), "--model", "fake", "--base-url", url,
            *sizes, *methods, "-o", str(out), "--resume"]  # fmt: skip


def finish(arguments, home):
    done = subprocess.run(arguments, env={**os.environ, "XDG_DATA_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def journalled(out):
    """The digests of all prompts whose reply is on disk; the endpoint puts them in its text."""
    if not (out / "readings" / "journal.db").exists():
        return set()
    database = sqlite3.connect(out / "readings" / "journal.db")
    rows = database.execute("SELECT text FROM calls WHERE status = 'done'").fetchall()
    database.close()
    assert len(set(rows)) == len(rows)
    return {text.split()[1] for (text,) in rows}


def results(out):
    """What each problem came to, whatever order they ended in."""
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    names = ("method", "task", "index", "status", "reply", "answer", "scores", "model_calls", "prompt_tokens")
    return sorted(([json.loads(line)[name] for name in names] for line in lines), key=str)


def test_kills_at_random_moments(serve, tmp_path):
    problems = write_problems(tmp_path / "problems.jsonl")
    url, log = serve("chain", 0.02)
    draw, out, killed = random.Random(5), tmp_path / "killed", 0
    for _ in range(KILLS):
        before, asked = journalled(out), len(kills.logged(log))
        killed += kills.kill_after_some_turns(command(problems, url, out), tmp_path, log, draw.uniform(0.0, 0.3))
        assert not before & set(kills.logged(log)[asked:])  # nothing that was finished is asked again
    assert killed == KILLS
    before, asked = journalled(out), len(kills.logged(log))
    assert before and not (out / "report.html").exists()
    finish(command(problems, url, out), tmp_path)
    assert not before & set(kills.logged(log)[asked:])
    assert len(journalled(out)) == sum(calls for *_, calls, _ in results(out))
    # Of each kill at most what was under way is asked once more: three problems, map-reduce all its chunks.
    needed = len(journalled(out))
    assert needed <= len(kills.logged(log)) <= needed + KILLS * 8
    finish(command(problems, serve("chain", 0.0)[0], tmp_path / "calm"), tmp_path)
    assert results(out) == results(tmp_path / "calm") and len(results(out)) == 15
    assert (out / "report.html").exists()
