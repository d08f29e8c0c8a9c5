"""Fixtures for models: a cache folder of the test's own, tiny weights, and the embedded model."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.models import tiny

from memagent.models.pull import pull


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("MEMAGENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as Hugging Face's files."""
    return tiny.write_folder(tmp_path_factory.mktemp("tiny") / "tiny-llama", tiny.weights())


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tiny Llama as GGUF."""
    return tiny.write_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf", tiny.weights())


@pytest.fixture(scope="session")
def embedded() -> Path:
    """The embedded model's folder. It is fetched by `make setup`; without it the tests fail."""
    return pull()
