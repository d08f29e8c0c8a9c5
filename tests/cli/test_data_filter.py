"""`memagent data filter` against the live endpoint: what is kept and told, bad input, going on, kill -9."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.fake_endpoint import Fault, prompt_of

from memagent.reading import Journal
from memagent.tasks import jsonl
from memagent.tasks.records import read_records, write

ENDPOINT = Path(__file__).parents[1] / "fake_endpoint.py"
CAPITALS = {"France": "Paris", "Italy": "Rome", "Peru": "Lima", "Chad": "N'Djamena"}


def records(*countries, **changes):
    return [
        {"question": f"What is the capital of {name}?", "answers": [CAPITALS[name]], "context": "A tale.", **changes}
        for name in countries
    ]


def write_lines(path, found):
    path.write_text("".join(json.dumps(record) + "\n" for record in found), encoding="utf-8")
    return path


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "in.jsonl", records(*CAPITALS))


@pytest.fixture
def filtered(memagent, endpoint, tmp_path):
    """Filter a file into out.jsonl with the live endpoint's model, which knows France, and Italy at seed 2."""

    def reply(body):
        known = ["France", *(["Italy"] if body["seed"] == 2 else [])]
        return next((f"\\boxed{{{CAPITALS[name]}}}" for name in known if name in prompt_of(body)), "\\boxed{unknown}")

    def call(path, *more, out="out.jsonl", url=None):
        options = ("--model", "fake", "--base-url", url or endpoint.url, "--retries", 1)
        return memagent("data", "filter", path, "-o", tmp_path / out, *options, *more)

    endpoint.reply = reply
    return call


def sent(endpoint):
    return Counter((body["model"], prompt_of(body), body["seed"]) for body in endpoint.bodies)


def test_what_a_model_knows_is_dropped(filtered, source, endpoint, tmp_path):
    done = filtered(source)
    assert done.status == 0
    assert [problem.answers for problem in jsonl.read(tmp_path / "out.jsonl")] == [("Lima",), ("N'Djamena",)]
    assert sum(sent(endpoint).values()) == 1 + 3 * 2 and set(sent(endpoint).values()) == {1}
    assert {body["temperature"] for body in endpoint.bodies} == {1.0}
    assert not any("A tale." in prompt_of(body) for body in endpoint.bodies)
    rows = [line.split() for line in done.out.splitlines()]
    assert ["fake", "1", "4", "1", "0"] in rows and ["fake", "2", "3", "1", "0"] in rows
    assert "4 problems read (4 questions), 2 kept, 2 dropped" in done.out
    assert "fake: 0 samples of 4 questions, 0%" in done.err  # progress, a line at once and then now and again


def test_the_report_says_which_reply_dropped_what(filtered, source, tmp_path):
    filtered(source, "--metric", "contains")
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text("utf-8"))
    assert report["problems"] == {"read": 4, "kept": 2, "dropped": 2} and report["failed"] == []
    assert [one["problems"] for one in report["dropped"]] == [["in-1"], ["in-2"]]
    france, italy = report["dropped"]
    assert (france["reply"], france["model"], france["sample"]) == ("\\boxed{Paris}", "fake", 1)
    assert (italy["question"], italy["answers"], italy["metric"], italy["sample"]) == (
        "What is the capital of Italy?", ["Rome"], "contains", 2,
    )  # fmt: skip
    assert [(one["sample"], one["seed"], one["asked"], one["hits"]) for one in report["samples"]] == [
        (1, 1, 4, 1), (2, 2, 3, 1),
    ]  # fmt: skip
    assert report["sampling"]["temperature"] == 1.0 and report["samples"][0]["completion_tokens"] > 0


def test_several_models(filtered, source, endpoint):
    done = filtered(source, "--also", "other", "--samples", 1)
    assert done.status == 0
    assert Counter(body["model"] for body in endpoint.bodies) == {"fake": 4, "other": 3}


def test_official_files_keep_their_format(filtered, source, tmp_path):
    write(tmp_path / "train.parquet", jsonl.read(source), "train-parquet")
    assert filtered(tmp_path / "train.parquet", out="kept/new.parquet").status == 0
    kept = read_records(tmp_path / "kept" / "new.parquet")
    assert [problem.answers for problem in kept] == [("Lima",), ("N'Djamena",)]
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "new.parquet", "new.parquet.report.json", "new.parquet.filter",
    }  # fmt: skip


def test_a_refused_question_is_kept_and_told(filtered, source, endpoint, tmp_path):
    refusal = {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}
    known = endpoint.reply
    endpoint.reply = lambda body: refusal if "Peru" in prompt_of(body) else known(body)
    done = filtered(source)
    assert done.status == 0 and "1 questions are kept without all their samples; the first: " in done.out
    assert [problem.answers[0] for problem in jsonl.read(tmp_path / "out.jsonl")] == ["Lima", "N'Djamena"]
    (failed,) = json.loads((tmp_path / "out.jsonl.report.json").read_text("utf-8"))["failed"]
    assert failed["problems"] == ["in-3"] and failed["error"]


def test_an_endpoint_that_goes_down_stops_it_and_resuming_finishes_it(filtered, source, endpoint, tmp_path):
    known, answered = endpoint.reply, []

    def reply(body):
        if "Chad" in prompt_of(body) or "down" in answered:
            answered.append("down")
            return {"error": {"message": "overloaded", "code": 503}}
        answered.append((body["model"], prompt_of(body), body["seed"]))
        return known(body)

    endpoint.reply = reply
    stopped = filtered(source, "--concurrency", 1)
    assert stopped.status == 3 and "go on with --resume" in stopped.line and not (tmp_path / "out.jsonl").exists()
    assert len(set(answered)) > 1
    endpoint.bodies.clear()
    endpoint.reply = known
    assert "--resume" in filtered(source).line
    assert filtered(source, "--resume").status == 0
    assert not set(answered) & set(sent(endpoint)) and "Chad" in str(sent(endpoint))
    assert len(jsonl.read(tmp_path / "out.jsonl")) == 2


def test_ctrl_c_says_how_to_go_on(filtered, source, endpoint, tmp_path):
    known = endpoint.reply
    presses = iter([signal.SIGINT])  # one: a second would end a process of its own at once, locks and all

    def reply(body):
        for press in presses:
            os.kill(os.getpid(), press)
        return known(body)

    endpoint.reply = reply
    stopped = filtered(source)
    assert stopped.status == 130 and "the same command with --resume goes on" in stopped.line
    endpoint.reply = known
    assert filtered(source, "--resume").status == 0 and len(jsonl.read(tmp_path / "out.jsonl")) == 2


def test_resuming_what_is_done_asks_nothing_and_writes_the_same(filtered, source, endpoint, tmp_path):
    filtered(source)
    before = {name: (tmp_path / name).read_bytes() for name in ("out.jsonl", "out.jsonl.report.json")}
    endpoint.bodies.clear()
    assert filtered(source, "--resume").status == 0
    assert endpoint.bodies == []
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    # Judged by another metric, the same replies do; of more samples and models only those are asked.
    assert filtered(source, "--resume", "--metric", "f1", "--at-least", 0.4).status == 0
    assert endpoint.bodies == []
    assert filtered(source, "--resume", "--samples", 3, "--also", "other").status == 0
    assert Counter((body["model"], body["seed"]) for body in endpoint.bodies) == {
        ("fake", 3): 2, ("other", 1): 2, ("other", 2): 2, ("other", 3): 2,
    }  # fmt: skip


def test_all_may_be_dropped(filtered, tmp_path):
    assert filtered(write_lines(tmp_path / "in.jsonl", records("France"))).status == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metric", "exact"], "there is no metric exact"),
        (["--metric", "no_such:thing"], "the metric no_such:thing cannot be imported"),
        (["--temperature", "0"], "at temperature 0 all samples are the same"),
        (["--also", "fake"], "two of the models have the same name"),
        (["--samples", "0"], "--samples"),
        (["--answer-tokens", "0"], "--answer-tokens must be at least 1"),
        (["--thinking-tokens", "-5"], "--thinking-tokens must be at least 0"),
        (["--at-least", "0"], "--at-least"),
        (["--adapter", "x"], "--adapter is for local models"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(filtered, source, endpoint, tmp_path, more, message):
    done = filtered(source, *more)
    assert done.status == 2 and message in done.line and endpoint.bodies == []
    assert list(tmp_path.glob("out*")) == []


def test_bad_files_are_one_line(filtered, source, endpoint, tmp_path):
    bad = write_lines(tmp_path / "bad.jsonl", [{"question": "q"}])
    assert "bad.jsonl:1: answers: is missing" in filtered(bad).line
    assert "gone.jsonl cannot be read" in filtered(tmp_path / "gone.jsonl").line
    assert "give it another suffix" in filtered(source, out="out.parquet").line
    before = source.read_bytes()
    for more in ((), ("--resume",)):
        assert "in.jsonl is there already" in filtered(source, *more, out="in.jsonl").line
    assert source.read_bytes() == before
    (tmp_path / "out.jsonl").write_text("mine", "utf-8")
    assert filtered(source, "--resume").status == 2 and (tmp_path / "out.jsonl").read_text("utf-8") == "mine"
    assert endpoint.bodies == []


def test_an_endpoint_that_never_answers_is_one_line_and_leaves_nothing(filtered, source, endpoint, tmp_path):
    done = filtered(source, url="http://127.0.0.1:9/v1")
    assert done.status == 2 and "127.0.0.1" in done.line and list(tmp_path.glob("out*")) == []
    assert filtered(source).status == 0


def test_two_at_once_are_refused(filtered, source, endpoint, tmp_path):
    journal = Journal(tmp_path / "out.jsonl.filter")
    with journal.lock("filter"):
        done = filtered(source, "--resume")
    journal.close()
    assert done.status == 3 and "another process is filtering into" in done.line and endpoint.bodies == []


def test_faults_on_the_way_are_tried_again(filtered, source, endpoint):
    endpoint.faults.extend([Fault(status=500), Fault(close="middle")])
    assert filtered(source, "--retries", 3).status == 0
    assert "2 kept" in filtered(source, "--resume").out


def finished(work):
    """The (digest of the prompt, seed) of all calls whose reply is in the journal; `chain` says the digest."""
    database = sqlite3.connect(work / "journal.db")
    rows = database.execute(
        "SELECT calls.text, readings.settings FROM calls JOIN readings ON readings.id = calls.reading"
    ).fetchall()
    database.close()
    return [(text.split()[1], json.loads(settings)["seed"]) for text, settings in rows]


def requested(log):
    bodies = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [(hashlib.sha256(prompt_of(body).encode()).hexdigest()[:16], body["seed"]) for body in bodies]


def test_kill_9_costs_no_finished_sample(tmp_path):
    questions = [{"question": f"What is {n}?", "answers": ["x"], "context": "c"} for n in range(60)]
    source, log = write_lines(tmp_path / "in.jsonl", questions), tmp_path / "log.jsonl"
    log.touch()
    serving = [sys.executable, str(ENDPOINT), "--log", str(log), "--behaviour", "chain", "--delay", "0.02"]
    endpoint = subprocess.Popen(serving, stdout=subprocess.PIPE, text=True)
    out, work = tmp_path / "out.jsonl", tmp_path / "out.jsonl.filter"
    arguments = [sys.executable, "-m", "memagent", "data", "filter", str(source), "-o", str(out), "--model", "fake",
                 "--base-url", endpoint.stdout.readline().strip(), "--concurrency", "4", "--resume"]  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": dict(os.environ)}
    try:
        for pause in (0.0, 0.1, 0.15):
            known = set(finished(work)) if work.exists() else set()
            size, before = log.stat().st_size, len(requested(log))
            process = subprocess.Popen(arguments, **quiet)
            while log.stat().st_size == size and process.poll() is None:
                time.sleep(0.002)
            time.sleep(pause)
            process.kill()
            assert process.wait() == -signal.SIGKILL and not out.exists()
            assert not known & set(requested(log)[before:])
        known, before = set(finished(work)), len(requested(log))
        assert 10 < len(known) < 120
        assert subprocess.run(arguments, check=False, **quiet).returncode == 0
    finally:
        endpoint.kill()
        endpoint.communicate()
    assert not known & set(requested(log)[before:])
    assert len(finished(work)) == len(set(finished(work))) == 120
    assert len(requested(log)) <= 120 + 3 * 4  # the calls under way at the three kills
    assert len(jsonl.read(out)) == 60
