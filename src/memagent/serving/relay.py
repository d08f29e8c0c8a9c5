"""What fits goes straight through: a request's own bytes to the endpoint behind us, its reply's own bytes back.

It does not know what a request says, but for the name of the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import aiohttp

from memagent.models.endpoint.address import Address
from memagent.models.endpoint.spread import Spread
from memagent.serving.errors import ApiError

_PASSED_ON = ("content-type", "x-request-id", "retry-after")
_CONNECT_SECONDS = 20.0
_REST = 1.0  # seconds in which an endpoint that could not be reached is passed over


class Relayed:
    """The endpoint's reply; it must be closed, which may happen more than once."""

    def __init__(self, reply: aiohttp.ClientResponse, release: Callable[[], None]) -> None:
        self.status = reply.status
        self.headers = {name: reply.headers[name] for name in _PASSED_ON if name in reply.headers}
        self._reply, self._release = reply, release
        self._closed = False

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            ApiError: 502, where it breaks off.
        """
        try:
            async for part in self._reply.content.iter_any():
                yield part
        except aiohttp.ClientError as error:
            raise _down(error) from error

    def close(self) -> None:
        """Let go of the connection, and of the place at the endpoint."""
        if not self._closed:
            self._closed = True
            self._reply.close()
            self._release()


class Relay:
    """Connections to an endpoint, or to several that are alike: the least busy one is asked."""

    def __init__(self, addresses: Sequence[Address], *, timeout: float, connections: int) -> None:
        self._spread = Spread(addresses, most=connections)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, body: bytes) -> Relayed:
        """Send a chat's body; where an endpoint cannot be reached, to the next one.

        Raises:
            ApiError: 502, where none can be reached.
        """
        error: Exception | None = None
        for _ in self._spread.places:
            place = self._spread.take_now()
            try:
                reply = await self._posted(place.one, body)
            except (aiohttp.ClientError, TimeoutError) as failure:
                self._spread.failed(place, _REST)
                self._spread.release(place)
                error = failure
                continue
            except BaseException:
                self._spread.release(place)
                raise
            self._spread.answered(place)
            return Relayed(reply, partial(self._spread.release, place))
        assert error is not None
        raise _down(error) from error

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _posted(self, address: Address, body: bytes) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {address.key}", "Content-Type": "application/json"}
        return await self._open().post(f"{address.url.rstrip('/')}/chat/completions", data=body, headers=headers)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session


def _down(error: BaseException) -> ApiError:
    why = type(error).__name__
    return ApiError(502, f"the endpoint behind this server does not answer ({why})", "server_error", "model_down")
