"""A server from its options to its end: model, journal, files, application, sockets, signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from memagent.errors import SetupError
from memagent.models import ModelOptions, open_model
from memagent.models.endpoint.address import LOOPBACK, Address
from memagent.reading import Journal, Settings
from memagent.reading.journal import data_folder
from memagent.serving.admission import Admission, Limits
from memagent.serving.app import make_app
from memagent.serving.feeds import Feeds
from memagent.serving.files import Files
from memagent.serving.relay import Relay
from memagent.serving.service import Service

GRACE = 10  # seconds that requests under way have when the server is told to end
LAST_WORDS = 5  # seconds more to tell those that did not end by then


async def serve(
    options: ModelOptions,
    settings: Settings,
    limits: Limits,
    *,
    host: str,
    port: int,
    evaluations: Path | None = None,
    report: Callable[[str], None],
) -> int:
    """Serve until a signal ends it; readings under way then stop and can be gone on with. The exit status.

    Raises:
        SetupError: the model cannot be used, or the address is taken.
        OptionError: sizes do not fit the model.
    """
    _many_connections()
    model = await open_model(options, report=report)
    settings.resolve(model)
    bounds = {"most_bytes": limits.files_mib * 2**20, "one_bytes": limits.body_mib * 2**20}
    files = Files(data_folder() / "files", **bounds)
    relay = None
    if options.model.partition(":")[0] != "local":
        addresses = [Address.given(url, None) for url in options.addresses]
        relay = Relay(addresses, timeout=options.timeout, connections=1024)
    with contextlib.closing(Journal.default()) as journal, _listening(host, port) as sock:
        service = Service(model, settings, journal, Admission(limits), files, options.as_json())
        feeds = Feeds(service, data_folder() / "feeds", **bounds)
        hosts = LOOPBACK if host in LOOPBACK else None
        app = make_app(service, relay, feeds=feeds, evaluations=evaluations, hosts=hosts)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE + LAST_WORDS,
            timeout_keep_alive=75,
            backlog=4096,
        )
        name = f"[{host}]" if ":" in host else host
        root = f"http://{name}:{sock.getsockname()[1]}"
        server = _Server(config, service)
        with _signals_end(server):
            report(f"serving {model.name} at {root}/v1, with a page at {root} (Ctrl-C ends it)")
            for note in model.notes:
                report(f"note: {note}")
            await server.serve(sockets=[sock])
    return 0


class _Server(uvicorn.Server):
    """Tells the service, some time after a signal, that what is still under way is to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service, self._loop = service, asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's, on a signal."""
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._loop.call_later, GRACE, self._service.end)


@contextlib.contextmanager
def _signals_end(server: uvicorn.Server) -> Iterator[None]:
    """Signals end the server before it listens for them itself, and are no failure when it raises them once more."""

    def end(*_: object) -> None:
        server.should_exit = True

    before = {one: signal.signal(one, end) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _many_connections() -> None:
    """Take as many open files as the system allows: each connection is one, and idle ones are many."""
    # Windows knows no such bound, and some systems refuse an endless one.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, for asyncio takes Nagle's delay (40 ms a reply) from no other.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        yield sock
    except OSError as error:
        raise SetupError(f"cannot listen at {host}:{port}: {error.strerror or error}; name another --port") from error
    finally:
        sock.close()
