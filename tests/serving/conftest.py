"""A server of ours in a thread, in front of a scripted model or a fake endpoint."""

import asyncio
import contextlib
import socket
import threading

import pytest
import uvicorn
from tests.fake_endpoint import FakeEndpoint, prompt_of
from tests.reading.oracle import oracle

from memagent import Settings
from memagent.models import ModelOptions, Request, ScriptedModel, open_model
from memagent.models.base import Prompt
from memagent.models.endpoint.address import Address
from memagent.reading import Journal
from memagent.serving.admission import Admission, Limits
from memagent.serving.app import make_app
from memagent.serving.feeds import Feeds
from memagent.serving.files import Files
from memagent.serving.relay import Relay
from memagent.serving.service import Service

GATED = Settings(protocol="gated", chunk_tokens=80, memory_tokens=200)
MIB = 2**20


class Held(ScriptedModel):
    """Reads by rules, but holds from call number `after` on until `go` is set; `began` tells that it holds one."""

    def __init__(self, after=0, **given):
        super().__init__(oracle, **given)
        self.after, self.seen = after, 0
        self.began, self.go = threading.Event(), threading.Event()

    async def generate(self, request):
        self.seen += 1
        if self.seen > self.after:
            self.began.set()
            while not self.go.is_set():
                await asyncio.sleep(0.01)
        return await super().generate(request)


class Server:
    """One server. `url` is for clients; `service` and `model` are looked at by tests."""

    def __init__(self, folder, make_model, limits, relayed=None, settings=GATED, **given):
        self._folder, self._make, self._limits, self._given = folder, make_model, limits, given
        self._relayed, self._settings = relayed, settings
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._ready = threading.Event()

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def connections(self):
        """The connections that are open."""
        return self._server.server_state.connections

    async def _run(self):
        sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.loop = asyncio.get_running_loop()
        self.root = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self.url = f"{self.root}/v1"
        self.model = await self._make()
        bounds = {"most_bytes": self._limits.files_mib * MIB, "one_bytes": self._limits.body_mib * MIB}
        files = Files(self._folder / "files", **bounds)
        with contextlib.closing(Journal(self._folder)) as journal:
            self.service = Service(self.model, self._settings, journal, Admission(self._limits), files)
            relay = self._relayed and Relay([Address.given(self._relayed, "none")], timeout=20, connections=64)
            self.feeds = Feeds(self.service, self._folder / "feeds", **bounds)
            app = make_app(self.service, relay, feeds=self.feeds, **self._given)
            config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
            self._server = uvicorn.Server(config)
            self._ready.set()
            await self._server.serve(sockets=[sock])


@pytest.fixture
def serving(tmp_path):
    """Starts servers: `serving(reply=…, window=…, **limits)`."""
    with contextlib.ExitStack() as held:

        def start(reply=oracle, window=600, settings=GATED, evaluations=None, hosts=None, model=None, **limits):
            async def make():
                return model or ScriptedModel(reply, window=window)

            given = {"settings": settings, "evaluations": evaluations, "hosts": hosts}
            return held.enter_context(Server(tmp_path / "served", make, Limits(**limits), **given))

        yield start


def as_request(body):
    """A request's prompt, of an endpoint's body."""
    return Request(prompt=Prompt(segments=(prompt_of(body),)), max_tokens=1, one_token="Keep")


@pytest.fixture
def fronting(tmp_path):
    """Starts a server in front of a fake endpoint that reads by rules: `fronting(window=…)` gives both."""
    with contextlib.ExitStack() as held:

        def start(reply=None, window=600, **limits):
            endpoint = held.enter_context(FakeEndpoint(reply or (lambda body: oracle(as_request(body)))))
            options = ModelOptions(model="fake", base_url=endpoint.url, window=window)
            made = Server(tmp_path / "fronted", lambda: open_model(options), Limits(**limits), endpoint.url)
            return held.enter_context(made), endpoint

        yield start
