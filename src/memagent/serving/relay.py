"""What fits goes straight through: a request's own bytes to the endpoint behind us, its reply's own bytes back.

It does not know what a request says, but for the name of the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from memagent.models.endpoint.address import Address
from memagent.serving.errors import ApiError

_PASSED_ON = ("content-type", "x-request-id", "retry-after")
_CONNECT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Relayed:
    """The endpoint's reply: `parts` must be read to their end, or closed; ApiError (502) comes where it breaks off."""

    status: int
    headers: dict[str, str]
    parts: AsyncIterator[bytes]


class Relay:
    """Connections to one endpoint."""

    def __init__(self, address: Address, *, timeout: float, connections: int) -> None:
        self._address = address
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, body: bytes) -> Relayed:
        """Send a chat's body.

        Raises:
            ApiError: 502, where the endpoint cannot be reached.
        """
        headers = {"Authorization": f"Bearer {self._address.key}", "Content-Type": "application/json"}
        url = f"{self._address.url.rstrip('/')}/chat/completions"
        try:
            reply = await self._open().post(url, data=body, headers=headers)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _down(error) from error
        passed = {name: reply.headers[name] for name in _PASSED_ON if name in reply.headers}
        return Relayed(reply.status, passed, _parts(reply))

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session


async def _parts(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for part in reply.content.iter_any():
            yield part
    except aiohttp.ClientError as error:
        raise _down(error) from error
    finally:
        reply.close()


def _down(error: BaseException) -> ApiError:
    why = type(error).__name__
    return ApiError(502, f"the endpoint behind this server does not answer ({why})", "server_error", "model_down")
