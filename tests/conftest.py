"""Fixtures that several rooms share; it knows no room's internals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fake_endpoint import FakeEndpoint


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    """A live endpoint on 127.0.0.1 that answers "Keep" until it is told otherwise."""
    with FakeEndpoint() as fake:
        yield fake
