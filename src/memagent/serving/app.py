"""The application: routes, what every request goes through, and how it starts and ends.

It does not know what requests mean.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from memagent import __version__
from memagent.errors import MemagentError
from memagent.serving.api import Api
from memagent.serving.errors import ApiError, from_memagent, invalid
from memagent.serving.metrics import Metrics
from memagent.serving.relay import Relay
from memagent.serving.service import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_TOLD = {
    400: "the request is at fault",
    401: "no valid key",
    404: "there is no such model or file",
    413: "the body is too large",
    429: "no place now; Retry-After says when to come back",
    502: "the endpoint behind this server failed",
    503: "the model is down or the journal in use; the same request goes on",
}


def make_app(service: Service, relay: Relay | None = None) -> FastAPI:
    """The server's application; `relay` reaches the endpoint behind it, if there is one."""
    metrics = Metrics(service.admission)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        if relay is not None:
            await relay.aclose()
        await service.model.aclose()

    app = FastAPI(
        title="memagent",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        responses={status: {"description": text} for status, text in _TOLD.items()},
    )
    app.include_router(Api(service, metrics, relay).router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(MemagentError, _own_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Doorway, metrics=metrics, most_bytes=service.admission.limits.body_mib * 2**20)
    return app


class Doorway:
    """What every request passes: bodies have a bound, and everything is counted."""

    def __init__(self, app: Callable[..., Awaitable[None]], *, metrics: Metrics, most_bytes: int) -> None:
        self._app, self._metrics, self._most = app, metrics, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, size, refused = time.monotonic(), 0, 0, False

        async def refuse() -> None:
            nonlocal status, refused
            error, refused, status = _too_large(self._most), True, 413
            await _reply(send, error)

        async def counted() -> MutableMapping[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most and not refused and not status:
                await refuse()
            return {"type": "http.disconnect"} if refused else message

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if refused:  # the client has its answer
                return
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            told = dict(scope["headers"]).get(b"content-length", b"0")
            if told.isdigit() and int(told) > self._most:
                await refuse()
            else:
                await self._app(scope, counted, noted)
        except ClientDisconnect:
            status = status or 499
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, status, time.monotonic() - began)


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the body has more than {most // 2**20} MiB: upload files, or start with a higher bound")


async def _reply(send: Send, error: ApiError) -> None:
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, dict(error.headers))


def _own_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MemagentError)
    return _api_error(request, from_memagent(error))


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "json_invalid":
        return _api_error(request, invalid(f"the body is no JSON: {first.get('ctx', {}).get('error', '')}"))
    return _api_error(request, invalid(f"{where}: {first['msg']}" if where else str(first["msg"]), where or None))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    message = f"{request.method} {request.url.path}: {error.detail}"
    return _api_error(request, ApiError(error.status_code, message, kind, headers=dict(error.headers or {})))
