"""Readings that begin in the middle, with a memory of somebody else's making; and sources that grow."""

import subprocess
import sys
import time

import pytest
from tests.reading.oracle import GATED, document_text, oracle

from memagent import Reader, open_document
from memagent.cli.following import grown
from memagent.errors import DocumentError, InputError
from memagent.models import ScriptedModel
from memagent.reading import Journal
from memagent.reading.following import follow
from memagent.reading.result import Start

TEXT = document_text(40)
FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]
PROBLEM = "Which keys?"


def read(model, start=None, journal=None, **given):
    reader = Reader(model, GATED, journal=journal)
    return reader.read_sync(open_document(text=TEXT), PROBLEM, start=start, **given)


def middle():
    """Where the third fact is read, as characters, and the memory that was there."""
    model, journal = ScriptedModel(oracle), Journal()
    reading = Reader(model, GATED, journal=journal).read_sync(open_document(text=TEXT), PROBLEM)
    changes = [turn for turn in journal.turns(reading.reading_id) if turn["memory"]]
    return changes[2]["end"], changes[2]["memory"]


def test_reading_on_from_the_middle_ends_as_reading_whole():
    characters, memory = middle()
    model = ScriptedModel(oracle)
    reading = read(model, Start(memory, characters))
    whole = read(ScriptedModel(oracle))
    assert reading.answer == whole.answer == " ".join(FACTS) and reading.status == "answered"
    assert reading.coverage.skipped + reading.coverage.read == whole.coverage.read and reading.coverage.skipped > 3
    assert len(model.requests) == reading.coverage.read + 1


def test_an_edited_memory_is_the_one_that_is_read_on_with():
    characters, _ = middle()
    reading = read(ScriptedModel(oracle), Start("Key 99 is mine.", characters))
    assert reading.memory.startswith("Key 99 is mine.\nKey 24") and "Key 3 is" not in reading.memory


def test_a_start_is_part_of_what_is_resumed(tmp_path):
    characters, memory = middle()
    journal = Journal(tmp_path)
    first = read(ScriptedModel(oracle), Start(memory, characters), journal)
    model = ScriptedModel(oracle)
    again = read(model, Start(memory, characters), journal, resume=True)
    assert again == first and not model.requests
    other = read(model, Start("Key 99 is mine.", characters), journal, resume=True)
    assert other.reading_id != first.reading_id
    assert journal.entry(first.reading_id).start == Start(memory, characters)


def test_at_the_end_there_is_only_the_answer_left():
    model = ScriptedModel(oracle)
    reading = read(model, Start("\n".join(FACTS), len(TEXT)))
    assert reading.answer == " ".join(FACTS) and reading.status == "answered" and len(model.requests) == 1


async def test_a_growing_source_is_read_as_it_comes():
    async def growing():
        for share in (0.3, 0.6, 1.0):
            yield open_document(text=TEXT[: int(len(TEXT) * share)])

    model = ScriptedModel(oracle)
    starts = []
    readings = [one async for one in follow(Reader(model, GATED), PROBLEM, growing(), noted=starts.append)]
    assert [len(one.answer) for one in readings] == sorted(len(one.answer) for one in readings)
    assert readings[-1].answer == " ".join(FACTS)
    assert starts[-1] == Start(readings[-1].memory, len(TEXT))
    calls = len(model.requests)
    whole = ScriptedModel(oracle)
    await Reader(whole, GATED).read(open_document(text=TEXT), PROBLEM)
    assert calls <= len(whole.requests) + 4  # an answer each time, and the part that was last is read again


async def test_a_file_is_looked_at_until_it_becomes_shorter(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("One line.\n")
    documents = grown(path, 0.01)
    assert (await anext(documents)).characters == 10
    path.write_text("One line.\nAnother.\n")
    assert (await anext(documents)).characters == 19
    path.write_text("New.\n")
    with pytest.raises(DocumentError, match="became shorter"):
        await anext(documents)
    with pytest.raises(DocumentError, match="is no file"):
        await anext(grown(tmp_path / "none", 0.01))


def test_the_command_answers_anew_when_the_file_has_grown(tmp_path, endpoint):
    import json
    import os
    import signal

    from tests.serving.conftest import as_request

    endpoint.reply = lambda body: oracle(as_request(body))
    path = tmp_path / "log.txt"
    path.write_text("Key 1 is one.\n")
    options = ["--model", "fake", "--base-url", endpoint.url, "--protocol", "gated", "--every", "0.1", "--json"]
    command = [sys.executable, "-m", "memagent", "ask", str(path), "-q", PROBLEM, "--follow", *options]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "OPENAI_API_KEY": "none"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert json.loads(process.stdout.readline())["answer"] == "Key 1 is one."
    with path.open("a") as file:
        file.write("Key 2 is two.\n")
    assert json.loads(process.stdout.readline())["answer"] == "Key 1 is one. Key 2 is two."
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()
    process.stderr.close()


def test_the_command_follows_one_file_for_one_problem(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("Some text.")
    for more in (["-q", "Why?"], [str(path)], ["--resume"]):
        command = [sys.executable, "-m", "memagent", "ask", str(path), "-q", "Who?", "--follow", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == InputError.exit_status and "--follow takes one" in done.stderr


def test_the_command_follows_a_file_that_is_written_to_while_it_is_read(tmp_path, endpoint):
    import json
    import os
    import signal

    from tests.serving.conftest import as_request

    endpoint.reply, endpoint.delay = (lambda body: oracle(as_request(body))), 0.05
    path = tmp_path / "log.txt"
    path.write_text(document_text(8))
    options = ["--model", "fake", "--base-url", endpoint.url, "--protocol", "gated", "--every", "0.1", "--json"]
    sizes = ["--chunk-tokens", "80", "--memory-tokens", "200", "--window", "2k"]
    command = [sys.executable, "-m", "memagent", "ask", str(path), "-q", PROBLEM, "--follow", *options, *sizes]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "OPENAI_API_KEY": "none"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    while not endpoint.bodies:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    for number in range(100, 110):
        with path.open("a") as file:
            file.write(f"Key {number} is late{number}.\n")
        time.sleep(0.05)
    while "Key 109 is late109." not in (answer := json.loads(process.stdout.readline())["answer"]):
        assert process.poll() is None
    assert "Key 3 is value3." in answer and all(f"late{number}" in answer for number in range(100, 110))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()
    process.stderr.close()
