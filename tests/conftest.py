"""Fixtures that several rooms share; it knows no room's internals."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fake_endpoint import FakeEndpoint

with contextlib.suppress(ImportError):  # verl's environment has none
    from hypothesis import settings

    # How long an example takes says more of what else the machine is doing.
    settings.register_profile("memagent", deadline=None)
    settings.load_profile("memagent")

# A shell has its background jobs ignore Ctrl-C, and so would the commands that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    """A live endpoint on 127.0.0.1 that answers "Keep" until it is told otherwise."""
    with FakeEndpoint() as fake:
        yield fake


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Matplotlib's figures that the test saves, in order."""
    from matplotlib.figure import Figure

    saved: list[Any] = []
    save = Figure.savefig

    def keep(figure: Any, *given: Any, **more: Any) -> None:
        saved.append(figure)
        save(figure, *given, **more)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved
