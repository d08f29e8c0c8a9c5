"""A live OpenAI-compatible endpoint on 127.0.0.1, scriptable, with every fault that real ones have.

In a test: `with FakeEndpoint(reply=...) as endpoint: ... endpoint.url`. As a process of its own:
`python tests/fake_endpoint.py --port 0 --log FILE --behaviour chain`, which prints its URL and logs
each request's body as a line of JSON once it has answered. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Body = dict[str, Any]
Reply = Callable[[Body], "str | Body"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request instead of an answer, or (status 200, no body) on the way to it.

    `stall` seconds pass first; `close` hangs up before anything is sent or in the middle of the body.
    """

    status: int = 200
    body: bytes | Body | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stall: float = 0.0
    close: Literal["", "before", "middle"] = ""


def prompt_of(body: Body) -> str:
    """The text of the last message."""
    return str(body["messages"][-1]["content"])


def count_tokens(text: str) -> int:
    """What this endpoint calls tokens: words and marks."""
    return len(re.findall(r"\w+|[^\w\s]", text))


class FakeEndpoint:
    """The server, in a thread of its own; what it saw stands in its attributes, in order of arrival.

    `reply(body)` gives the answer's text, or fields of its message, or (with "choices" or "error") the
    whole body. `faults` are used up one by one by chat requests. `models` is what GET /v1/models says
    (a Fault to fail there). `cut_at` shortens prompts silently, as Ollama's num_ctx does. `usage`
    replaces the usage that is reported (None leaves it out).
    """

    def __init__(self, reply: Reply | str = "Keep", *, port: int = 0, log: Path | None = None) -> None:
        self.reply: Reply = (lambda body: reply) if isinstance(reply, str) else reply
        self.faults: deque[Fault] = deque()
        self.models: Body | Fault = {"object": "list", "data": [{"id": "fake", "object": "model"}]}
        self.cut_at: int | None = None
        self.usage: Callable[[Body, int, int], Body | None] = _usage
        self.delay = 0.0
        self.bodies: list[Body] = []
        self.raw_bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.in_flight = self.most_in_flight = self.hung_up = self.answered = 0
        self.keeps_records = True
        self._port, self._log = port, log
        self._loop = asyncio.new_event_loop()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FakeEndpoint:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Hangs up on everyone and frees the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.serve())
        finally:
            self._loop.close()

    async def serve(self) -> None:
        """Serves until `stop`."""
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        connections = dict(self._connections)
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: one that was never begun when the server stops would leave its socket open.
        task = asyncio.ensure_future(self._converse(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._one_request(reader, writer):
                    pass
        finally:
            writer.close()

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; False when the connection is done."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if self.keeps_records:
            self.paths.append(path)
            self.headers.append(headers)
        if not path.endswith("/chat/completions"):
            return await self._send(writer, *_listing(path, self.models))
        body: Body = json.loads(raw)
        if self.keeps_records:
            self.bodies.append(body)
            self.raw_bodies.append(raw)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            goes_on = await self._chat(body, reader, writer)
        finally:
            self.in_flight -= 1
        self._write_log(body)
        return goes_on

    async def _chat(self, body: Body, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        fault = self.faults.popleft() if self.faults else Fault()
        if not await self._wait(fault.stall or self.delay, reader) or fault.close == "before":
            return False
        status, answer = fault.status, fault.body
        if answer is None:
            answer = self._completion(body) if status == 200 else {"error": {"message": f"fault {status}"}}
        if fault.close == "middle":
            return await self._send_half(writer, status, _encoded(answer), fault.headers)
        self.answered += status == 200
        return await self._send(writer, status, _encoded(answer), fault.headers)

    async def _wait(self, seconds: float, reader: asyncio.StreamReader) -> bool:
        """Waits; False if the client hung up meanwhile."""
        if not seconds:
            return True
        hang_up = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({hang_up}, timeout=seconds)
            self.hung_up += hang_up.done()
            return not hang_up.done()
        finally:
            hang_up.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await hang_up

    def _completion(self, body: Body) -> Body:
        reply = self.reply(body)
        if isinstance(reply, dict) and ("choices" in reply or "error" in reply):
            return reply
        message = {"role": "assistant", "content": reply} if isinstance(reply, str) else reply
        seen = count_tokens(prompt_of(body)) + 8
        seen = seen if self.cut_at is None else min(seen, self.cut_at)
        usage = self.usage(body, seen, count_tokens(str(message.get("content"))))
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
        }
        return whole if usage is None else {**whole, "usage": usage}

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> bool:
        writer.write(_head(status, len(body), headers) + body)
        await writer.drain()
        return True

    async def _send_half(self, writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> bool:
        writer.write(_head(status, len(body), headers) + body[: len(body) // 2])
        await writer.drain()
        return False

    def _write_log(self, body: Body) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(body) + "\n")


def _usage(body: Body, prompt_tokens: int, completion_tokens: int) -> Body | None:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def _listing(path: str, models: Body | Fault) -> tuple[int, bytes, dict[str, str]]:
    if not path.endswith("/models"):
        return 404, b'{"error": {"message": "not found"}}', {}
    if isinstance(models, Fault):
        return models.status, _encoded(models.body if models.body is not None else {}), models.headers
    return 200, _encoded(models), {}


def _encoded(body: bytes | Body) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _head(status: int, length: int, headers: dict[str, str]) -> bytes:
    fields = {"content-type": "application/json", "content-length": str(length), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode("latin-1")


def _chain(body: Body) -> str:
    """A reply that depends on every byte of the prompt, so that the answer depends on every turn."""
    digest = hashlib.sha256(prompt_of(body).encode()).hexdigest()[:16]
    return f"chain {digest} \\boxed{{{digest}}}"


def _gated(body: Body) -> str:
    """Keeps two turns of three, by the prompt's hash; else adds a line."""
    digest = hashlib.sha256(prompt_of(body).encode()).hexdigest()[:16]
    if "<section>" not in prompt_of(body):
        return f"\\boxed{{{digest}}}"
    return "Keep" if int(digest, 16) % 3 else f"Add: fact {digest}"


BEHAVIOURS: dict[str, Reply] = {"chain": _chain, "gated": _gated, "keep": lambda body: "Keep"}


def main(arguments: list[str]) -> None:
    """The endpoint as a process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--behaviour", choices=sorted(BEHAVIOURS), default="chain")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    given = parser.parse_args(arguments)
    endpoint = FakeEndpoint(BEHAVIOURS[given.behaviour], port=given.port, log=given.log)
    endpoint.keeps_records, endpoint.delay = False, given.delay
    with endpoint, contextlib.suppress(KeyboardInterrupt):
        print(endpoint.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
