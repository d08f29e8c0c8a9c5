"""The routes: OpenAI's chat completions, models and files, health and metrics.

What a request becomes is `service`'s business, what it looks like on the way back `bodies`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Form, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse

from memagent import __version__
from memagent.documents import Document
from memagent.errors import MemagentError
from memagent.reading.run import Progress
from memagent.serving.bodies import KEEP_ALIVE, Frame, Watch, event
from memagent.serving.doorway import owner_of
from memagent.serving.errors import ApiError, ending, from_memagent, invalid
from memagent.serving.feeds import Feeds
from memagent.serving.messages import Asked
from memagent.serving.relay import Relay, Relayed
from memagent.serving.schemas import ChatRequest, FeedPart, NewFeed
from memagent.serving.service import Done, Service
from memagent.serving.streams import Stream, lines_of

ALIAS = "memagent"  # by which the model behind us can be called, too
PIECE = 2**16  # bytes of a file that is being uploaded
LONG_BODY = 2**16  # bytes of a body that takes time to look at
FAILS_AT_ONCE = 0.2  # seconds in which a stream that cannot begin tells so by its status
Found = TypeVar("Found")


class Api:
    """The routes of one server. `relay` reaches the endpoint behind us; None: the model runs here."""

    def __init__(self, service: Service, feeds: Feeds, relay: Relay | None = None) -> None:
        self._service, self._feeds, self._relay = service, feeds, relay
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
        add("/v1/feeds", self.list_feeds, methods=["GET"])
        add("/v1/feeds/{identity}", self.feed, methods=["GET"])
        add("/v1/feeds/{identity}", self.delete_feed, methods=["DELETE"])
        add("/v1/feeds/{identity}/parts", self.feed_part, methods=["POST"])
        add("/v1/feeds/{identity}/answer", self.feed_answer, methods=["POST"])
        add("/health", self.health, methods=["GET"])
        add("/metrics", self.counts, methods=["GET"], response_class=Response)

    async def chat(self, request: Request, chat: ChatRequest) -> Response:
        """Answer a chat: directly where it fits the model's window, else by reading it."""
        owner = owner_of(request)
        self._known(chat.model)
        raw = await request.body()
        found = await _aside(len(raw), partial(self._service.plan, chat, passes=self._relay is not None))
        if found is None and self._relay is not None:
            return await self._relayed(request, owner, raw, chat)
        frame = Frame(chat.model)
        if found is None:
            done = await self._watched(request, self._service.direct(owner, chat))
            return _direct_reply(frame, chat, done)
        document = await asyncio.to_thread(self._service.document, owner, chat, found)
        if chat.stream:
            return await self._streamed(owner, chat, found, document, frame)
        done = await self._watched(request, self._service.read(owner, chat, found, document))
        return JSONResponse(frame.whole(done))

    async def models(self, request: Request) -> dict[str, Any]:
        """The model that answers, under its own name and as memagent."""
        return {"object": "list", "data": [self._model(name) for name in self._names]}

    async def one_model(self, request: Request, name: str) -> dict[str, Any]:
        """One of `models`."""
        self._known(name)
        return self._model(name)

    async def upload(self, request: Request, file: UploadFile, purpose: Annotated[str, Form()] = "user_data") -> Any:
        """Keep a file, to be named as one of a chat's file_ids."""
        owner = owner_of(request)

        async def parts() -> AsyncIterator[bytes]:
            while part := await file.read(PIECE):
                yield part

        return (await self._service.files.add(owner, file.filename or "", purpose[:64], parts())).as_json()

    async def list_files(self, request: Request) -> dict[str, Any]:
        """The files of this key."""
        found = self._service.files.list(owner_of(request))
        return {"object": "list", "data": [one.as_json() for one in found], "has_more": False}

    async def one_file(self, request: Request, identity: str) -> Any:
        """What is known of a file."""
        return self._service.files.get(owner_of(request), identity).as_json()

    async def content(self, request: Request, identity: str) -> FileResponse:
        """A file as it was uploaded; a browser saves it and runs nothing in it."""
        owner = owner_of(request)
        path = self._service.files.path(owner, identity)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    async def delete_file(self, request: Request, identity: str) -> dict[str, Any]:
        """Forget a file."""
        self._service.files.delete(owner_of(request), identity)
        return {"id": identity, "object": "file", "deleted": True}

    async def new_feed(self, request: Request, asked: NewFeed) -> dict[str, Any]:
        """Begin a source that grows."""
        if not asked.problem.strip():
            raise invalid("the problem is empty: say what the source is to be read for", param="problem")
        return self._feeds.create(owner_of(request), asked.problem).as_json()

    async def list_feeds(self, request: Request) -> dict[str, Any]:
        """The growing sources of this key."""
        return {"object": "list", "data": [one.as_json() for one in self._feeds.list(owner_of(request))]}

    async def delete_feed(self, request: Request, identity: str) -> dict[str, Any]:
        """Forget a growing source."""
        await self._feeds.delete(owner_of(request), identity)
        return {"id": identity, "object": "feed", "deleted": True}

    async def feed(self, request: Request, identity: str) -> dict[str, Any]:
        """A growing source: its memory, how far it is read, and the last answer."""
        return self._feeds.get(owner_of(request), identity).as_json()

    async def feed_part(self, request: Request, identity: str, part: FeedPart) -> dict[str, Any]:
        """Add to a growing source; it is read on by itself."""
        return self._feeds.post(owner_of(request), identity, part.text).as_json()

    async def feed_answer(self, request: Request, identity: str) -> dict[str, Any]:
        """The answer from all that has come, once that is read."""
        return (await self._watched(request, self._feeds.answer(owner_of(request), identity))).as_json()

    async def health(self) -> dict[str, Any]:
        """That the server is there, and what it is busy with."""
        admission = self._service.admission
        return {"status": "ok", "version": __version__, "running": admission.running, "waiting": admission.waiting}

    async def counts(self, request: Request) -> Response:
        """Prometheus' counters."""
        metrics = self._service.metrics
        return Response(metrics.text(), media_type=metrics.content_type)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._service.model.name, ALIAS)))

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "memagent"}

    def _known(self, name: str) -> None:
        if name not in self._names:
            message = f"there is no model {name[:80]!r} here: take {' or '.join(self._names)}"
            raise ApiError(404, message, code="model_not_found", param="model")

    async def _relayed(self, request: Request, owner: str, raw: bytes, chat: ChatRequest) -> Response:
        own = self._service.model.name
        body = raw if chat.model == own else await _aside(len(raw), partial(_renamed, raw, own))
        with contextlib.ExitStack() as held:
            held.enter_context(self._service.admission.passing(owner))
            if not chat.stream:  # in one piece, which is half the work
                return await self._watched(request, self._whole(body))
            reply: Relayed = await self._watched(request, self._asked(body))
            held.callback(reply.close)
            close = held.pop_all().close
        return Stream(reply.parts(), close, status_code=reply.status, headers=reply.headers)

    async def _asked(self, body: bytes) -> Relayed:
        assert self._relay is not None
        return await self._relay.chat(body)

    async def _whole(self, body: bytes) -> Response:
        with contextlib.closing(await self._asked(body)) as reply:
            parts = [part async for part in reply.parts()]
        return Response(b"".join(parts), reply.status, reply.headers)

    async def _watched(self, request: Request, work: Coroutine[Any, Any, Found]) -> Found:
        """What `work` comes to, unless the client goes away, or the server ends: then it is cancelled."""
        await request.body()
        task: asyncio.Task[Found] = self._service.begin(work)
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ApiError(499, "the client has gone away")
            if task.cancelled():
                raise ending()
            return task.result()
        finally:
            for one in (task, gone):
                one.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _streamed(
        self, owner: str, chat: ChatRequest, found: Asked, document: Document, frame: Frame
    ) -> Response:
        """A reading as it goes; when nobody listens any more it is cancelled, and can be gone on with.

        What fails at once is told by the status, as long as none is sent.
        """
        lines: asyncio.Queue[str | None] = asyncio.Queue()
        watch = Watch()

        def say(progress: Progress) -> None:
            if line := watch.line(progress):
                lines.put_nowait(line)

        task: asyncio.Task[Done] = self._service.begin(self._service.read(owner, chat, found, document, say))
        task.add_done_callback(lambda _: lines.put_nowait(None))
        try:
            await asyncio.wait({task}, timeout=FAILS_AT_ONCE)
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
        except BaseException:
            task.cancel()
            raise
        events = _events(task, lines, chat, frame)
        return Stream(events, task.cancel, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _events(
    task: asyncio.Task[Done], lines: asyncio.Queue[str | None], chat: ChatRequest, frame: Frame
) -> AsyncIterator[bytes]:
    for part in frame.opening(chat.choices):
        yield part
    async with contextlib.aclosing(lines_of(lines)) as said:
        async for line in said:
            yield KEEP_ALIVE if line is None else frame.thought(line)
    try:
        if task.cancelled():
            raise ending()
        for part in frame.closing(task.result(), with_usage=_wants_usage(chat)):
            yield part
    except ApiError as error:
        yield event(error.body())
    except MemagentError as error:
        yield event(from_memagent(error).body())


def _direct_reply(frame: Frame, chat: ChatRequest, done: Done) -> Response:
    if not chat.stream:
        return JSONResponse(frame.whole(done))
    parts = [*frame.opening(chat.choices), *frame.closing(done, with_usage=_wants_usage(chat))]
    return Response(b"".join(parts), media_type="text/event-stream")


async def _gone(request: Request) -> None:
    # Behind the body nothing comes but that. (Request.is_disconnected may swallow a cancellation.)
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _aside(size: int, work: Callable[[], Found]) -> Found:
    """`work` over a body of so many bytes: in a thread where it is long, so that nobody else waits."""
    return await asyncio.to_thread(work) if size > LONG_BODY else work()


def _wants_usage(chat: ChatRequest) -> bool:
    return bool(chat.stream_options and chat.stream_options.include_usage)


def _renamed(raw: bytes, name: str) -> bytes:
    return json.dumps({**json.loads(raw), "model": name}).encode()
