"""LoRA adapters as PEFT writes them: read, checked against their base, and merged into it.

Merging is W + scale * B @ A with scale alpha / r (alpha / sqrt(r) for rank-stabilised ones). An
adapter trained here carries `memagent.json`, whose `base_sha256` binds it to its base and whose other
entries are the settings it was trained with or is to be read with. It does not know what runs the merged weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.errors import SetupError
from memagent.extras import extra
from memagent.models.gguf_files import GGUF, hub_name, to_gguf_rows
from memagent.models.pull import GGUF_NAME, cache_folder, file_hash, manifest, write_atomically

if TYPE_CHECKING:
    from memagent.models.gguf_files import Array

CONFIG_NAME, WEIGHTS_NAME, CARD_NAME = "adapter_config.json", "adapter_model.safetensors", "memagent.json"
_KEY = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
# What numbers, names and shapes that cannot be come to.
_CORRUPT = (OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, re.error)
_REFUSED = {"use_dora": False, "bias": "none", "modules_to_save": None, "fan_in_fan_out": False}


@dataclass(frozen=True, slots=True)
class LowRank:
    """One matrix's change: `up` (out, r) times `down` (r, in) times `scale`."""

    down: Array
    up: Array
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix it changes: (out, in)."""
        return self.up.shape[0], self.down.shape[1]

    def delta(self) -> Array:
        """What is added to the matrix, (out, in)."""
        return self.scale * (self.up @ self.down)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter folder. `parts` maps Hugging Face's weight names to their change.

    `card` is memagent.json, None where there is none.
    """

    folder: Path
    sha256: str
    base_name: str
    parts: Mapping[str, LowRank]
    card: Mapping[str, Any] | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about it."""
        if self.card is not None:
            return ()
        return (f"the adapter {self.folder.name} does not say which weights it was trained on; its shapes fit",)

    def check(self, base: str, base_sha256: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse another base. `shapes` are the base's weights under Hugging Face's names.

        Raises:
            SetupError: it was trained on other weights, or does not fit these.
        """
        expected = (self.card or {}).get("base_sha256")
        if expected is not None and expected != base_sha256:
            trained_on = f"{self.base_name} ({str(expected)[:12]})"
            raise SetupError(
                f"the adapter {self.folder} was trained on {trained_on}, not on {base} ({base_sha256[:12]})"
            )
        for name, part in sorted(self.parts.items()):  # the same complaint each time: files keep no order
            if shapes.get(name) != part.shape:
                raise SetupError(
                    f"the adapter {self.folder} does not fit {base}: it changes {name} of shape "
                    f"{part.shape}, the model has {shapes.get(name, 'none')}"
                )


def read_adapter(folder: Path) -> Adapter:
    """Read a PEFT LoRA folder.

    Raises:
        SetupError: files are missing, corrupt or of a kind that is not plain LoRA.
    """
    with extra("local", "reading an adapter"):
        import numpy  # noqa: F401 (asked for here, so that one line says what is missing)
        import safetensors
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise SetupError(f"{folder} is no adapter: it has no {name}")
    config = _read_json(folder / CONFIG_NAME)
    _refuse_other_kinds(folder, config)
    try:
        raw = (folder / WEIGHTS_NAME).read_bytes()
        tensors = {name: _as_array(view) for name, view in safetensors.deserialize(raw)}  # type: ignore[no-untyped-call]
        parts = _pair(tensors, config)
    except (*_CORRUPT, safetensors.SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise SetupError(f"the adapter {folder / WEIGHTS_NAME} is corrupt: {reason}") from error
    card = folder / CARD_NAME
    return Adapter(
        folder=folder,
        sha256=_folder_hash(folder),
        base_name=str(config.get("base_model_name_or_path") or "an unnamed base"),
        parts=parts,
        card=_read_json(card) if card.is_file() else None,
    )


def base_hash(model: Path) -> str:
    """What an adapter is bound to: a hash of the base's weights.

    A pulled model: the manifest's. A GGUF file (or a folder holding model.gguf): `GGUF.weights_hash`.
    A folder of Hugging Face's: SHA-256 over the names and SHA-256 of its safetensors files. The last
    two are kept in the cache folder, by path, size and time of change.

    Raises:
        SetupError: there are no weights.
    """
    told = manifest(model).get("weights_sha256")
    if isinstance(told, str):
        return told
    if model.is_dir() and (model / GGUF_NAME).is_file():
        model = model / GGUF_NAME
    files = sorted(model.glob("*.safetensors")) if model.is_dir() else [model]
    if not files:
        raise SetupError(f"{model} holds no safetensors and no {GGUF_NAME}")
    kept = cache_folder() / "hashes" / _fingerprint(files)
    if not kept.is_file():
        digest = GGUF(model).weights_hash() if model.is_file() else _files_hash(files)
        write_atomically(kept, lambda path: _write(path, digest))
    return kept.read_text(encoding="ascii")


def merged_gguf(base: Path, base_sha256: str, adapter: Adapter, *, name: str) -> Path:
    """The base with the adapter merged in, an F16 GGUF kept in the cache folder. `name` is for messages.

    Raises:
        SetupError: the adapter is for another base.
    """
    file = GGUF(base)
    hub_names = {tensor: hub_name(tensor) for tensor in file.shapes()}
    adapter.check(name, base_sha256, {hub_names[tensor]: shape for tensor, shape in file.shapes().items()})
    key = hashlib.sha256(f"{base_sha256}{adapter.sha256}".encode()).hexdigest()
    target = cache_folder() / "merged" / f"{key[:32]}.gguf"

    def change(tensor: str, array: Array) -> Array:
        part = adapter.parts.get(hub_names[tensor])
        return array if part is None else array + to_gguf_rows(part.delta(), file.heads(tensor))

    if not target.is_file():
        write_atomically(target, lambda path: file.rewrite(path, change))
    return target


def _refuse_other_kinds(folder: Path, config: Mapping[str, Any]) -> None:
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise SetupError(f"the adapter {folder} is {config['peft_type']}; only LoRA is supported")
    for name, plain in _REFUSED.items():
        if (config.get(name) or plain) != plain:
            raise SetupError(f"the adapter {folder} uses {name}={config[name]}; only plain LoRA is supported")


def _pair(tensors: Mapping[str, Array], config: Mapping[str, Any]) -> dict[str, LowRank]:
    halves: dict[str, dict[str, Array]] = {}
    for key, tensor in tensors.items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise ValueError(f"{key} is no LoRA weight")
        halves.setdefault(found[1], {})[found[2]] = tensor
    if not halves:
        raise ValueError("it holds no weights")
    parts = {name: LowRank(half["A"], half["B"], _scale(name, config)) for name, half in halves.items()}
    for name, part in parts.items():
        if part.up.ndim != 2 or part.down.ndim != 2 or part.up.shape[1] != part.down.shape[0]:
            raise ValueError(f"the halves of {name} are no matrices of one rank")
        if not math.isfinite(part.scale):
            raise ValueError(f"the scale of {name} is {part.scale}")
    return {f"{name}.weight": part for name, part in parts.items()}


def _scale(name: str, config: Mapping[str, Any]) -> float:
    rank = _by_pattern(name, config.get("rank_pattern"), config["r"])
    alpha = _by_pattern(name, config.get("alpha_pattern"), config["lora_alpha"])
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _by_pattern(name: str, patterns: Mapping[str, float] | None, default: float) -> float:
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            return value
    return default


def _as_array(view: Mapping[str, Any]) -> Array:
    import numpy

    raw = bytes(view["data"])
    if view["dtype"] == "BF16":  # numpy has no such type: they are the upper halves of float32
        array = (numpy.frombuffer(raw, numpy.uint16).astype(numpy.uint32) << 16).view(numpy.float32)
    else:
        array = numpy.frombuffer(raw, {"F16": numpy.float16, "F32": numpy.float32}[view["dtype"]])
    wide: Array = array.astype(numpy.float32).reshape(view["shape"])
    return wide


def _folder_hash(folder: Path) -> str:
    return _files_hash([folder / CONFIG_NAME, folder / WEIGHTS_NAME])


def _files_hash(files: list[Path]) -> str:
    return hashlib.sha256("".join(f"{path.name}{file_hash(path)}" for path in files).encode()).hexdigest()


def _fingerprint(files: list[Path]) -> str:
    facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{path} is no JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise SetupError(f"{path} is no JSON object")
    return loaded
