"""Whatever is wrong becomes one clear line and the right exit status; the endpoint is alive throughout.

Each check runs against an endpoint that would answer, so that a missing check shows as an answer.
"""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile

import pytest
from tests.fake_endpoint import Fault, prompt_of
from tests.reading.oracle import document_text

from memagent.reading import Journal


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(document_text(30), encoding="utf-8")
    return path


def locked_pdf(path):
    from pypdf import PdfWriter

    writer = PdfWriter()
    writer.add_blank_page(width=100, height=100)
    writer.encrypt("secret", algorithm="AES-256")
    writer.write(path)


def make(path, kind):
    """A file that cannot be read, of one kind."""
    if kind == "empty.txt":
        path.write_bytes(b"")
    elif kind == "blank.txt":
        path.write_text(" \n\t\n")
    elif kind == "binary.bin":
        path.write_bytes(bytes(range(256)) * 40)
    elif kind == "locked.pdf":
        locked_pdf(path)
    elif kind == "corrupt.pdf":
        path.write_bytes(b"%PDF-1.7\nthis is no pdf")
    elif kind in ("corrupt.docx", "corrupt.epub"):
        path.write_bytes(b"PK\x03\x04 and then nothing of use")
    elif kind == "other.docx":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    elif kind == "folder":
        path.mkdir()
        (path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing.txt", "not found"),
        ("empty.txt", "empty"),
        ("blank.txt", "white space|empty|no text"),
        ("binary.bin", "binary"),
        ("locked.pdf", "password"),
        ("corrupt.pdf", "PDF"),
        ("corrupt.docx", "DOCX|Word|zip"),
        ("corrupt.epub", "EPUB|zip"),
        ("other.docx", "DOCX|Word"),
        ("folder", "without any text"),
    ],
)
def test_documents_that_cannot_be_read(ask, endpoint, tmp_path, kind, says):
    make(tmp_path / kind, kind)
    result = ask(tmp_path / kind, "-q", "Why?")
    assert result.status == 2
    assert kind in result.line and re.search(says, result.line)
    assert endpoint.bodies == [] and result.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "-q"),
        (["-q", ""], "-q"),
        (["-q", "  "], "-q"),
        (["-q", "Why?", "--protocol", "magic"], "unknown protocol 'magic'"),
        (["-q", "Why?", "--window", "2000", "--chunk-tokens", "20k", "--memory-tokens", "300"], "do not fit"),
        (["-q", "Why?", "--read-ahead", "0"], "--read-ahead"),
        (["-q", "Why?", "--temperature", "9"], "--temperature"),
        (["-q", "Why?", "--top-p", "0"], "--top-p"),
        (["-q", "Why?", "--protocol", "paper", "--exit"], "no exit"),
        (["-q", "Why?", "--max-cost", "1"], "--price"),
        (["-q", "Why?", "--price", "cheap"], "price"),
        (["-q", "Why?", "--tokenizer", "/no/such/folder"], "tokenizer"),
        (["-q", "Why?", "--adapter", "/no/such/folder"], "--adapter"),
        (["-q", "Why?", "--nonsense"], "--nonsense"),
        (["-q", "Why? " * 20000], "shorten the problem|do not fit"),
    ],
)
def test_options_that_make_no_sense(memagent, endpoint, book, arguments, says):
    result = memagent("ask", book, "--model", "fake", "--base-url", endpoint.url, *arguments)
    assert result.status == 2
    assert re.search(says, result.line)
    assert endpoint.bodies == []


@pytest.mark.parametrize("size", ["0", "-5", "many", "1x"])
def test_sizes_that_are_none(memagent, endpoint, book, size):
    for option in ("--chunk-tokens", "--memory-tokens"):
        result = memagent("ask", book, "-q", "Why?", "--model", "fake", "--base-url", endpoint.url, option, size)
        assert (result.status, endpoint.bodies) == (2, [])
        assert option in result.line


def test_no_document(ask):
    result = ask("-q", "Why?")
    assert result.status == 2 and "no document" in result.line


def test_invalid_utf8_is_read_and_said(ask, endpoint, tmp_path):
    path = tmp_path / "mixed.txt"
    path.write_bytes("Grüße aus Köln. ".encode() * 300 + b"\xff\xfe\xfd" + b"Ende, wirklich. " * 300)
    result = ask(path, "-q", "Why?")
    assert result.status == 0
    assert "note: " in result.err and "UTF-8" in result.err
    assert "Grüße" in prompt_of(endpoint.bodies[0])


def test_a_long_line_without_spaces(ask, endpoint, tmp_path):
    path = tmp_path / "line.txt"
    path.write_bytes(b"abcdefghij" * 1_000_000)
    result = ask(path, "-q", "Why?", "--chunk-tokens", "8k", "--window", "200k", "--dry-run", "--json")
    assert result.status == 0
    assert result.json["characters"] == 10_000_000


def test_an_endpoint_that_is_down(ask, endpoint, book):
    url = endpoint.url
    endpoint.stop()
    result = ask(book, "-q", "Why?", url=url)
    assert result.status == 2
    assert "127.0.0.1" in result.line


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(status=401), "key|OPENAI_API_KEY"),
        (Fault(status=404), "model"),
    ],
)
def test_an_endpoint_that_will_never_do(ask, endpoint, book, fault, says):
    endpoint.faults.extend([fault] * 9)
    result = ask(book, "-q", "Why?")
    assert result.status == 2
    assert re.search(says, result.line)


FAULTS = [
    Fault(status=429, headers={"retry-after": "1"}),
    Fault(status=500),
    Fault(status=503),
    Fault(body=b"<html>not json</html>"),
    Fault(body={"choices": []}),
    Fault(close="before"),
    Fault(close="middle"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_not_noticed(ask, endpoint, book, fault):
    endpoint.faults.append(fault)
    assert ask(book, "-q", "Why?").status == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_stops_and_can_be_resumed(ask, endpoint, book, fault):
    def breaks(body):
        if len(endpoint.bodies) == 4 and not endpoint.faults:
            endpoint.faults.extend([fault] * 9)
        return "a memory"

    endpoint.reply = breaks
    stopped = ask(book, "-q", "Why?")
    assert stopped.status == 3
    assert "127.0.0.1" in stopped.line
    endpoint.faults.clear()
    endpoint.reply = lambda body: "a memory"
    asked = [prompt_of(body) for body in endpoint.bodies[:4]]
    endpoint.bodies.clear()
    assert ask(book, "-q", "Why?", "--resume").status == 0
    assert not set(asked) & {prompt_of(body) for body in endpoint.bodies}


def test_an_endpoint_that_never_answers_rightly_is_a_matter_of_setup(ask, endpoint, book):
    endpoint.faults.extend([Fault(body=b"<html>")] * 9)
    assert ask(book, "-q", "Why?").status == 2


def test_an_endpoint_that_is_slow_times_out(ask, endpoint, book):
    endpoint.faults.extend([Fault(stall=30)] * 9)
    result = ask(book, "-q", "Why?", "--timeout", "0.2")
    assert result.status in (2, 3)
    assert "127.0.0.1" in result.line


def test_an_endpoint_that_cuts_prompts_is_noticed(ask, endpoint, book):
    endpoint.cut_at = 90
    result = ask(book, "-q", "Why?")
    assert result.status == 2
    assert "num_ctx" in result.line


def test_an_overflow_is_answered_by_cutting_the_chunk(ask, endpoint, book):
    def narrow(body):
        if len(prompt_of(body)) > 1000:
            message = "This model's maximum context length is 300 tokens. Please reduce the length of the messages."
            return {"error": {"message": message, "code": "context_length_exceeded"}}
        return "a memory"

    endpoint.reply = narrow
    status = {"narrow": 400}
    send = endpoint._send

    async def with_status(writer, code, body, headers):
        return await send(writer, status["narrow"] if b"context_length" in body else code, body, headers)

    endpoint._send = with_status
    result = ask(book, "-q", "Why?", "--json")
    assert result.status == 0, result.err
    assert result.json["tally"]["recut"] > 0
    assert result.json["coverage"]["failed"] == 0


def test_a_read_only_journal(ask, endpoint, book, home):
    home.parent.mkdir(parents=True)
    home.write_text("a file where the folder should be")
    result = ask(book, "-q", "Why?")
    assert result.status == 2
    assert "XDG_DATA_HOME" in result.line
    assert endpoint.bodies == []


def test_a_full_disk_stops_and_loses_nothing(ask, endpoint, book, home, monkeypatch):
    endpoint.reply = lambda body: f"memory {len(endpoint.bodies)} " + "x" * 200
    record = Journal.record

    def fills_up(self, *arguments, **more):
        if len(endpoint.bodies) == 5:
            pages = self._database.execute("PRAGMA page_count").fetchone()[0]
            self._database.execute(f"PRAGMA max_page_count = {pages}")
        return record(self, *arguments, **more)

    monkeypatch.setattr(Journal, "record", fills_up)
    stopped = ask(book, "-q", "Why?")
    assert stopped.status == 3
    assert "disk is full" in stopped.line
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(home.parent))
    kept = len(Journal(home).entries())
    before = len(endpoint.bodies)
    assert ask(book, "-q", "Why?", "--resume").status == 0
    assert kept == 1
    repeated = [prompt_of(b) for b in endpoint.bodies[:before] if b in endpoint.bodies[before:]]
    assert len(repeated) <= 1  # the call whose reply no longer fitted the disk


def test_two_processes_on_one_reading(ask, endpoint, book, journal):
    endpoint.faults.extend([Fault(), Fault(), *[Fault(status=500)] * 9])
    assert ask(book, "-q", "Why?").status == 3
    endpoint.faults.clear()
    entry = journal.entries()[0]
    with journal.lock(entry.id):
        busy = ask(book, "-q", "Why?", "--resume")
    assert busy.status == 3
    assert "in use by another process" in busy.line
    assert ask(book, "-q", "Why?", "--resume").status == 0


def test_a_document_that_changed_since(ask, memagent, endpoint, book, journal):
    endpoint.faults.extend([Fault(), Fault(), *[Fault(status=500)] * 9])
    assert ask(book, "-q", "Why?").status == 3
    endpoint.faults.clear()
    book.write_text("something else entirely, by now. " * 90, encoding="utf-8")
    result = memagent("readings", "resume", journal.entries()[0].id)
    assert result.status == 2
    assert "changed" in result.line


@pytest.mark.parametrize("command", ["show", "resume", "export", "delete"])
def test_a_reading_that_is_not_there(memagent, command):
    result = memagent("readings", command, "nosuch")
    assert result.status == 2
    assert "no reading starts with 'nosuch'" in result.line


def test_a_journal_that_is_none(memagent, home):
    home.mkdir(parents=True)
    (home / "journal.db").write_bytes(b"garbage, " * 1000)
    result = memagent("readings")
    assert result.status == 2
    assert "journal" in result.line


def test_a_closed_pipe_is_no_error(endpoint, book, tmp_path):
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}
    command = [sys.executable, "-m", "memagent", "ask", str(book), "-q", "Why?", "--model", "fake",
               "--base-url", endpoint.url]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    error = process.stderr.read().decode()
    process.wait()
    process.stderr.close()
    assert "Traceback" not in error and "BrokenPipe" not in error


def hear_interrupts():
    """A test run in the background of a shell inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_leaves_a_reading_that_can_be_resumed(endpoint, book, tmp_path, home):
    endpoint.delay = 0.05
    environment = {**os.environ, "XDG_DATA_HOME": str(home.parent)}
    command = [sys.executable, "-m", "memagent", "ask", str(book), "-q", "Why?", "--model", "fake",
               "--base-url", endpoint.url, "--chunk-tokens", "50", "--memory-tokens", "50"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, preexec_fn=hear_interrupts
    )
    while len(endpoint.bodies) < 5:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == b"" and b"Traceback" not in error
    reading_id = Journal(home).entries()[0].id
    assert f"memagent readings resume {reading_id}" in error.decode()
    before = {prompt_of(body) for body in endpoint.bodies[:-1]}
    endpoint.bodies.clear()
    done = subprocess.run([*command, "--resume", "--json"], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert not before & {prompt_of(body) for body in endpoint.bodies}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-q", "caf\udce9"], "not valid text"),
        (["-q", "Why?", "--chunk-tokens", "9" * 400], "--chunk-tokens"),
        (["-q", "Why?", "--price", "1,1", "--max-cost", "nan"], "--max-cost"),
        (["-q", "Why?", "--window", "3000", "--model", "local"], "--base-url|--window"),
        (["-q", "Why?", "--engine", "torch"], "--engine"),
    ],
)
def test_odd_values_are_one_line(memagent, endpoint, book, arguments, says):
    result = memagent("ask", book, "--model", "fake", "--base-url", endpoint.url, *arguments)
    assert result.status == 2
    assert re.search(says, result.line)
    assert endpoint.bodies == []


def test_an_empty_path_is_no_folder(ask, endpoint):
    result = ask("", "-q", "Why?")
    assert (result.status, endpoint.bodies) == (2, [])


def test_output_in_an_encoding_that_lacks_characters(endpoint, book, tmp_path):
    endpoint.reply = lambda body: "답 → 好"
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "memagent", "ask", str(book), "-q", "Why?", "--model", "fake",
               "--base-url", endpoint.url, "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"\\ub2f5" in done.stdout


def test_a_journal_of_another_version_is_one_line(memagent, home):
    Journal(home).close()
    database = sqlite3.connect(home / "journal.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    result = memagent("readings")
    assert result.status == 2
    assert "another version" in result.line
