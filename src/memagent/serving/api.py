"""The routes: OpenAI's chat completions, models and files, health and metrics.

What a request becomes is `service`'s business, what it looks like on the way back `bodies`'.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from memagent import __version__
from memagent.documents import Document
from memagent.errors import MemagentError
from memagent.reading.run import Progress
from memagent.serving.bodies import KEEP_ALIVE, Frame, Watch, event
from memagent.serving.errors import ApiError, from_memagent, invalid
from memagent.serving.feeds import Feeds
from memagent.serving.messages import Asked
from memagent.serving.metrics import Metrics
from memagent.serving.relay import Relay
from memagent.serving.schemas import ChatRequest, FeedPart, NewFeed
from memagent.serving.service import Done, Service

ALIAS = "memagent"  # by which the model behind us can be called, too
KEEP_ALIVE_SECONDS = 10.0
PIECE = 2**16  # bytes of a file that is being uploaded


class Api:
    """The routes of one server. `relay` reaches the endpoint behind us; None: the model runs here."""

    def __init__(self, service: Service, metrics: Metrics, feeds: Feeds, relay: Relay | None = None) -> None:
        self._service, self._metrics, self._feeds, self._relay = service, metrics, feeds, relay
        self.router = APIRouter()
        add = self.router.add_api_route
        add("/v1/chat/completions", self.chat, methods=["POST"], response_model=None)
        add("/v1/models", self.models, methods=["GET"])
        add("/v1/models/{name:path}", self.one_model, methods=["GET"])
        add("/v1/files", self.upload, methods=["POST"])
        add("/v1/files", self.list_files, methods=["GET"])
        add("/v1/files/{identity}", self.one_file, methods=["GET"])
        add("/v1/files/{identity}", self.delete_file, methods=["DELETE"])
        add("/v1/files/{identity}/content", self.content, methods=["GET"], response_class=FileResponse)
        add("/v1/feeds", self.new_feed, methods=["POST"])
        add("/v1/feeds/{identity}", self.feed, methods=["GET"])
        add("/v1/feeds/{identity}/parts", self.feed_part, methods=["POST"])
        add("/v1/feeds/{identity}/answer", self.feed_answer, methods=["POST"])
        add("/health", self.health, methods=["GET"])
        add("/metrics", self.counts, methods=["GET"], response_class=Response)

    async def chat(self, request: Request, chat: ChatRequest) -> Response:
        """Answer a chat: directly where it fits the model's window, else by reading it."""
        owner = self._owner(request)
        self._known(chat.model)
        found = self._service.plan(chat)
        if found is None and self._relay is not None:
            return await self._relayed(await request.body(), chat)
        frame = Frame(chat.model)
        if found is None:
            return self._direct_reply(frame, chat, await self._watched(request, self._service.direct(owner, chat)))
        document = await asyncio.to_thread(self._service.document, owner, chat, found)
        if chat.stream:
            events = self._events(owner, chat, found, document, frame)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        done = await self._watched(request, self._service.read(owner, chat, found, document))
        self._metrics.done(done)
        return JSONResponse(frame.whole(done))

    async def models(self, request: Request) -> dict[str, Any]:
        """The model that answers, under its own name and as memagent."""
        self._owner(request)
        return {"object": "list", "data": [self._model(name) for name in self._names]}

    async def one_model(self, request: Request, name: str) -> dict[str, Any]:
        """One of `models`."""
        self._owner(request)
        self._known(name)
        return self._model(name)

    async def upload(self, request: Request, file: UploadFile, purpose: Annotated[str, Form()] = "user_data") -> Any:
        """Keep a file, to be named as one of a chat's file_ids."""
        owner = self._owner(request)

        async def parts() -> AsyncIterator[bytes]:
            while part := await file.read(PIECE):
                yield part

        return (await self._service.files.add(owner, file.filename or "", purpose[:64], parts())).as_json()

    async def list_files(self, request: Request) -> dict[str, Any]:
        """The files of this key."""
        found = self._service.files.list(self._owner(request))
        return {"object": "list", "data": [one.as_json() for one in found], "has_more": False}

    async def one_file(self, request: Request, identity: str) -> Any:
        """What is known of a file."""
        return self._service.files.get(self._owner(request), identity).as_json()

    async def content(self, request: Request, identity: str) -> FileResponse:
        """A file as it was uploaded; a browser saves it and runs nothing in it."""
        owner = self._owner(request)
        path = self._service.files.path(owner, identity)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    async def delete_file(self, request: Request, identity: str) -> dict[str, Any]:
        """Forget a file."""
        self._service.files.delete(self._owner(request), identity)
        return {"id": identity, "object": "file", "deleted": True}

    async def new_feed(self, request: Request, asked: NewFeed) -> dict[str, Any]:
        """Begin a source that grows."""
        if not asked.problem.strip():
            raise invalid("the problem is empty: say what the source is to be read for", param="problem")
        return self._feeds.create(self._owner(request), asked.problem).as_json()

    async def feed(self, request: Request, identity: str) -> dict[str, Any]:
        """A growing source: its memory, how far it is read, and the last answer."""
        return self._feeds.get(self._owner(request), identity).as_json()

    async def feed_part(self, request: Request, identity: str, part: FeedPart) -> dict[str, Any]:
        """Add to a growing source; it is read on by itself."""
        return self._feeds.post(self._owner(request), identity, part.text).as_json()

    async def feed_answer(self, request: Request, identity: str) -> dict[str, Any]:
        """The answer from all that has come, once that is read."""
        return (await self._feeds.answer(self._owner(request), identity)).as_json()

    async def health(self) -> dict[str, Any]:
        """That the server is there, and what it is busy with."""
        admission = self._service.admission
        return {"status": "ok", "version": __version__, "running": admission.running, "waiting": admission.waiting}

    async def counts(self, request: Request) -> Response:
        """Prometheus' counters."""
        self._owner(request)
        return Response(self._metrics.text(), media_type=self._metrics.content_type)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._service.model.name, ALIAS)))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "memagent"}

    def _known(self, name: str) -> None:
        if name not in self._names:
            message = f"there is no model {name[:80]!r} here: take {' or '.join(self._names)}"
            raise ApiError(404, message, code="model_not_found", param="model")

    def _owner(self, request: Request) -> str:
        return self._service.admission.who(request.headers.get("authorization"))

    async def _relayed(self, raw: bytes, chat: ChatRequest) -> Response:
        assert self._relay is not None
        own = self._service.model.name
        reply = await self._relay.chat(raw if chat.model == own else _renamed(raw, own))
        if not chat.stream:  # in one piece, which is half the work
            body = b"".join([part async for part in reply.parts])
            return Response(body, reply.status, reply.headers)
        return StreamingResponse(reply.parts, status_code=reply.status, headers=reply.headers)

    def _direct_reply(self, frame: Frame, chat: ChatRequest, done: Done) -> Response:
        self._metrics.done(done)
        if not chat.stream:
            return JSONResponse(frame.whole(done))
        parts = [*frame.opening(chat.choices), *frame.closing(done, with_usage=_wants_usage(chat))]
        return Response(b"".join(parts), media_type="text/event-stream")

    async def _watched(self, request: Request, work: Any) -> Done:
        """What `work` comes to, unless the client goes away: then it is cancelled."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ApiError(499, "the client has gone away")
            found: Done = task.result()
            return found
        finally:
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _events(
        self, owner: str, chat: ChatRequest, found: Asked, document: Document, frame: Frame
    ) -> AsyncIterator[bytes]:
        """A reading as it goes; when nobody listens any more it is cancelled, and can be gone on with."""
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        watch = Watch()

        def say(progress: Progress) -> None:
            if line := watch.line(progress):
                lines.put_nowait(line)

        task = asyncio.ensure_future(self._service.read(owner, chat, found, document, say))
        task.add_done_callback(lambda _: lines.put_nowait(None))
        try:
            for part in frame.opening(chat.choices):
                yield part
            async with aclosing(_lines(lines)) as said:
                async for line in said:
                    yield KEEP_ALIVE if line is None else frame.thought(line)
            done = task.result()
            self._metrics.done(done)
            for part in frame.closing(done, with_usage=_wants_usage(chat)):
                yield part
        except ApiError as error:
            yield event(error.body())
        except MemagentError as error:
            yield event(from_memagent(error).body())
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _lines(lines: asyncio.Queue[str | None]) -> AsyncGenerator[str | None, None]:
    """What is said, and None where nothing was said for a while."""
    while True:
        try:
            line = await asyncio.wait_for(lines.get(), KEEP_ALIVE_SECONDS)
        except TimeoutError:
            yield None
            continue
        if line is None:
            return
        yield line


async def _gone(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.5)


def _wants_usage(chat: ChatRequest) -> bool:
    return bool(chat.stream_options and chat.stream_options.include_usage)


def _renamed(raw: bytes, name: str) -> bytes:
    return json.dumps({**json.loads(raw), "model": name}).encode()
