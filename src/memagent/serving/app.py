"""The application: its routes, how failures look, and how it ends.

It does not know what requests mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from memagent import __version__
from memagent.errors import MemagentError
from memagent.serving.api import Api
from memagent.serving.background import Background
from memagent.serving.doorway import Doorway
from memagent.serving.errors import ApiError, from_memagent, invalid
from memagent.serving.feeds import Feeds
from memagent.serving.inspector import Inspector
from memagent.serving.relay import Relay
from memagent.serving.service import Service

_TOLD = {
    400: "the request is at fault",
    401: "no valid key",
    404: "there is no such model or file",
    413: "the body is too large",
    429: "no place now; Retry-After says when to come back",
    502: "the endpoint behind this server failed",
    503: "the model is down or the journal in use; the same request goes on",
}


def make_app(
    service: Service,
    relay: Relay | None = None,
    *,
    feeds: Feeds,
    evaluations: Path | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """The server's application; `relay` reaches the endpoint behind it, if there is one.

    `evaluations` is a folder of result folders that the page shows. Only requests to one of `hosts` are answered
    (None: to any), so that no page of elsewhere can reach a server of this machine under a name of its own.
    """
    background = Background(service)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.stop()
        await feeds.stop()
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
    app.include_router(Api(service, feeds, relay).router)
    app.include_router(Inspector(service, background, evaluations).router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(MemagentError, _own_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    admission = service.admission
    most = admission.limits.body_mib * 2**20
    app.add_middleware(Doorway, metrics=service.metrics, admission=admission, most_bytes=most, hosts=hosts)
    return app


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
