"""What every request passes before it means anything: the host that is meant, its key, the bound of its body, the
counters; and what it comes to where we fail.

Of routes it knows those that need no key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request

from memagent.serving.admission import Admission
from memagent.serving.errors import ApiError
from memagent.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
GONE = 499  # as nginx counts clients that went away
PATIENCE = 60.0  # seconds without a byte of a body that is not whole yet
_LOG = logging.getLogger(__name__)
# What holds nothing of anybody's: the page's own files and the sign of life. Reports have a pass of their own.
_OPEN, _OPEN_BELOW = ("/", "/health", "/openapi.json"), ("/page/", "/evaluations/")
_HARMLESS = ("GET", "HEAD", "OPTIONS")
_OWNER = "memagent.owner"


def owner_of(request: Request) -> str:
    """Whose request it is, by the key that let it in."""
    return str(request.scope[_OWNER])


class Doorway:
    """ASGI middleware. Bodies have at most `most_bytes`; only requests to one of `hosts` come in (None: to any)."""

    def __init__(
        self, app: App, *, metrics: Metrics, admission: Admission, most_bytes: int, hosts: Collection[str] | None
    ) -> None:
        self._app, self._metrics, self._admission = app, metrics, admission
        self._most, self._hosts = most_bytes, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, passing = time.monotonic(), _Passing(receive, send, self._most)
        try:
            error = self._objection(scope, dict(scope["headers"]))
            if error is not None:
                await passing.refuse(error)
            else:
                await self._app(scope, passing.receive, passing.send)
        except ClientDisconnect:
            passing.status = passing.status or GONE
        except Exception:
            if passing.status:  # too late for another one; the connection breaks off
                raise
            _LOG.exception("a request failed")
            await passing.refuse(ApiError(500, "internal error", "server_error"))
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, passing.status, time.monotonic() - began)

    def _objection(self, scope: Message, headers: dict[bytes, bytes]) -> ApiError | None:
        if self._hosts is not None and _host(headers.get(b"host", b"")) not in self._hosts:
            return ApiError(421, "this server answers to the names of this machine alone")
        if self._hosts is not None and scope["method"] not in _HARMLESS and not self._is_ours(headers):
            return ApiError(403, "a page of another site may not use this server")
        if scope["path"] not in _OPEN and not scope["path"].startswith(_OPEN_BELOW):
            try:
                scope[_OWNER] = self._admission.who(headers.get(b"authorization", b"").decode("latin-1"))
            except ApiError as error:
                return error
        told = headers.get(b"content-length", b"0")
        return _too_large(self._most) if told.isdigit() and int(told) > self._most else None

    def _is_ours(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a browser sends it from a page of this machine; other clients do not say where they are."""
        origin = headers.get(b"origin")
        return origin is None or _host(origin.partition(b"://")[2]) in (self._hosts or ())


class _Passing:
    """One request on its way; `status` is what its reply began with."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._most = receive, send, most
        self._size, self._whole, self._refused = 0, False, False
        self.status = 0

    async def refuse(self, error: ApiError) -> None:
        """Answer for the application, which is not heard any more."""
        self._refused, self.status = True, error.status
        body = json.dumps(error.body()).encode()
        length = (b"content-length", str(len(body)).encode())
        headers = [(b"content-type", b"application/json"), length, (b"connection", b"close")]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        await self._send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def receive(self) -> Message:
        """A part of the body, as long as it is not too long and comes; after it, that the client has gone."""
        error = None
        try:
            # A whole body is followed by the client's going alone, for which there is no hurry.
            message = await asyncio.wait_for(self._receive(), None if self._whole else PATIENCE)
            self._whole = not message.get("more_body", False)
            self._size += len(message.get("body", b""))
            error = _too_large(self._most) if self._size > self._most else None
        except TimeoutError:
            error = ApiError(408, f"nothing of the body came for {PATIENCE:.0f} seconds")
        if error is not None and not self._refused and not self.status:
            await self.refuse(error)
        return {"type": "http.disconnect"} if self._refused else message

    async def send(self, message: Message) -> None:
        """A part of the reply."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def _host(header: bytes) -> str | None:
    try:
        return urlsplit(f"//{header.decode('latin-1')}").hostname
    except ValueError:
        return None


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body has more than {most // 2**20} MiB: upload files, or start with a higher bound")
