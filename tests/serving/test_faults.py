"""Clients that idle, dawdle, vanish or send too much: others are served, and nothing is left behind."""

import contextlib
import json
import os
import resource
import socket
import time
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from tests.reading.oracle import document_text
from tests.serving.conftest import Held
from tests.serving.test_limits import BODY, body_of, post, until

from memagent.serving import doorway, files

IDLE = 2000
MIB = 2**20


def connect(server):
    where = urlsplit(server.root)
    return socket.create_connection((where.hostname, where.port), timeout=20)


def head(path, length, kind="application/json"):
    lines = [f"POST /v1{path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def heard(one):
    """All that comes until the server hangs up, or resets what it does not want to read on."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := one.recv(65536):
            said += part
    return said


@pytest.fixture
def many_files():
    """Room for both ends of the idle connections in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * IDLE:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * IDLE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_keep_nobody_out(serving, many_files):
    server = serving()
    with contextlib.ExitStack() as held:
        for number in range(IDLE):
            one = held.enter_context(connect(server))
            if number % 2:
                one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        until(lambda: len(server.connections) >= IDLE)
        assert post(server, BODY).status_code == 200
    until(lambda: not server.connections)


def test_a_body_of_200_mib_is_neither_kept_nor_read_on(serving):
    server = serving(body_mib=8)
    before = psutil.Process().memory_info().rss
    with connect(server) as one:
        one.sendall(head("/chat/completions", 200 * MIB))
        assert b" 413 " in heard(one).splitlines()[0]

    def endless():
        for _ in range(200):
            yield b" " * MIB

    reply = httpx2.post(f"{server.url}/chat/completions", content=endless(), headers={"Content-Type": "text/plain"})
    assert reply.status_code == 413
    assert psutil.Process().memory_info().rss - before < 64 * MIB


def test_a_body_that_does_not_come_is_a_408(serving, monkeypatch):
    monkeypatch.setattr(doorway, "PATIENCE", 0.3)
    server = serving()
    with connect(server) as one:
        one.sendall(head("/chat/completions", 1000) + b'{"model": ')
        said = heard(one)
        assert b" 408 " in said.splitlines()[0]
        assert set(json.loads(said.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}
    until(lambda: not server.connections)


def test_patience_with_a_body_is_none_with_a_reading(serving, monkeypatch):
    monkeypatch.setattr(doorway, "PATIENCE", 0.1)
    model = Held(window=600)
    server = serving(model=model)
    with contextlib.closing(connect(server)) as one:
        raw = json.dumps(BODY).encode()
        one.sendall(head("/chat/completions", len(raw)) + raw)
        assert model.began.wait(10)
        time.sleep(0.5)
        model.go.set()
        assert b" 200 " in one.recv(4096).splitlines()[0]


def test_a_reader_that_does_not_read_holds_up_nobody(serving):
    server = serving()
    with contextlib.ExitStack() as held:
        for number in range(16):
            one = held.enter_context(contextlib.closing(connect(server)))
            raw = json.dumps({**body_of(number), "stream": True}).encode()
            one.sendall(head("/chat/completions", len(raw)) + raw)
        assert post(server, body_of(99)).status_code == 200
    until(lambda: not server.connections and server.service.admission.running == 0)


def test_an_upload_that_is_broken_off_leaves_nothing(serving, tmp_path):
    server = serving()
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + b"a word " * 10_000
    with connect(server) as one:
        one.sendall(head("/files", 10 * MIB, "multipart/form-data; boundary=x") + part)
    until(lambda: not server.connections)
    assert not [path for path in (tmp_path / "served" / "files").rglob("*") if path.is_file()]


def test_what_a_killed_server_had_half_received_goes(serving, tmp_path):
    here = tmp_path / "served" / "files" / "someone"
    old, new = here / "file-old", here / "file-new"
    for place in (old, new):
        (place / "content").mkdir(parents=True)
        (place / "content" / "a.txt").write_text(document_text(2))
    long_ago = time.time() - 2 * files._HALF
    os.utime(old, (long_ago, long_ago))
    serving()
    assert not old.exists() and new.exists()
