"""Where an endpoint is and the key that opens it, neither ever shown.

It knows URLs and environment variables, and makes the SDK's client; it knows no requests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from memagent.errors import OptionError, SetupError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_HOSTED = "https://api.openai.com/v1"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_CONNECT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint. `host` (with its port) is all of it that may be shown."""

    host: str
    url: str = field(repr=False)
    key: str = field(repr=False)

    @classmethod
    def given(cls, base_url: str | None, api_key: str | None) -> Address:
        """From arguments, else from OPENAI_BASE_URL and OPENAI_API_KEY.

        Raises:
            OptionError: the URL is malformed, or the key holds what no HTTP header can carry.
            SetupError: a hosted endpoint is meant and there is no key.
        """
        url = (base_url or os.environ.get("OPENAI_BASE_URL") or _HOSTED).strip()
        key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        host = _host(url)
        if not key and url == _HOSTED:
            raise SetupError(
                "no API key and no endpoint: set OPENAI_API_KEY, or name an endpoint with --base-url, "
                "or leave --model out to use the embedded model"
            )
        if not (key.isascii() and key.isprintable()):
            raise OptionError("the API key holds characters that no key has: check OPENAI_API_KEY")
        return cls(host=host, url=url, key=key or "none")

    def scrub(self, text: str) -> str:
        """`text` without this endpoint's key and without the credentials of its URL."""
        parts = urlsplit(self.url)
        for secret in (self.key, parts.password, parts.username):
            if secret and len(secret) > 4:
                text = text.replace(secret, "***")
        return text

    def client(self, *, connections: int, timeout: float) -> AsyncOpenAI:
        """A client that keeps as many connections as it may use. Its own retries are off: ours are seen."""
        import openai

        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=connections, max_keepalive_connections=connections
        )
        return openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key,
            max_retries=0,
            timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            http_client=openai.DefaultAsyncHttpxClient(limits=limits, trust_env=not self._is_loopback),
        )

    @property
    def _is_loopback(self) -> bool:
        """This machine is never reached through a proxy."""
        return urlsplit(self.url).hostname in LOOPBACK


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not name or any(c.isspace() or c == "\\" for c in url):
        raise OptionError("--base-url (or OPENAI_BASE_URL) must look like http://localhost:8000/v1")
    shown = f"[{name}]" if ":" in name else name
    return shown if port is None else f"{shown}:{port}"
