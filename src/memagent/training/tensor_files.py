"""Tensors as safetensors in parts of bounded size, and any tree of plain values with tensors in it, without pickle.

A tensor that is larger than a part is split over several. It does not know what the tensors are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from memagent.errors import OptionError

# Parts are made in memory, so they are bounded where nobody asks for it, too.
USUAL_PART = 2**28
LEAST_PART = 2**12
_HEADER, _ENTRY = 128, 256  # no less than what a header takes, for itself and for each tensor beside its name
_PIECE = re.compile(r"(.*)#(\d+)")


def check_part_bytes(most: int) -> None:
    """Raise OptionError where parts of at most `most` bytes are too small to be made."""
    if most < LEAST_PART:
        raise OptionError(f"parts of {most} bytes are too small: take at least {LEAST_PART}")


def write_parts(folder: Path, stem: str, tensors: Mapping[str, torch.Tensor], most: int = USUAL_PART) -> None:
    """Write `STEM-00001-of-00003.safetensors` and so on, of at most `most` bytes each; none where there are no tensors.

    Raises:
        OSError: they cannot be written.
    """
    parts = list(_packed(_pieces(tensors, most), most))
    for number, part in enumerate(parts, start=1):
        write_tensors(folder / f"{stem}-{number:05}-of-{len(parts):05}.safetensors", part)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write one safetensors file.

    Raises:
        OSError: it cannot be written. (The library's own writer has another error for that.)
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(safetensors.torch.save(plain, metadata={"format": "pt"}))


def read_parts(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    """The tensors that `write_parts` wrote, on the CPU; those that were split are flat.

    Raises:
        OSError, SafetensorError: a file cannot be read.
    """
    found: dict[str, torch.Tensor] = {}
    split: dict[str, dict[int, torch.Tensor]] = {}
    for path in sorted(folder.glob(f"{stem}-*.safetensors")):
        for name, tensor in safetensors.torch.load(path.read_bytes()).items():
            piece = _PIECE.fullmatch(name)
            if piece is None:
                found[name] = tensor
            else:
                split.setdefault(piece[1], {})[int(piece[2])] = tensor
    return found | {name: torch.cat([pieces[at] for at in sorted(pieces)]) for name, pieces in split.items()}


def flatten(value: Any, tensors: dict[str, torch.Tensor], place: str = "") -> Any:
    """`value` as JSON has it; its tensors go into `tensors`, under their place in the tree.

    It may be made of None, bool, int, float, str, tensors, lists, tuples and mappings, with keys of the first five.
    """
    if isinstance(value, torch.Tensor):
        tensors[place] = value
        return {"tensor": place, "shape": list(value.shape)}
    if isinstance(value, Mapping):
        inner = ((key, flatten(one, tensors, f"{place}/{key}" if place else str(key))) for key, one in value.items())
        return {"mapping": [list(pair) for pair in inner]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [flatten(one, tensors, f"{place}/{number}") for number, one in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place} is a {type(value).__name__}, which no checkpoint can hold")


def unflatten(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The inverse of `flatten`.

    Raises:
        KeyError, RuntimeError: a tensor is missing or has another size.
    """
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]].reshape(value["shape"])
    if "mapping" in value:
        return {key: unflatten(one, tensors) for key, one in value["mapping"]}
    if "tuple" in value:
        return tuple(unflatten(one, tensors) for one in value["tuple"])
    return [unflatten(one, tensors) for one in value["list"]]


def _pieces(tensors: Mapping[str, torch.Tensor], most: int) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        fitting = (most - _HEADER - _ENTRY - len(name.encode())) // tensor.element_size()
        if tensor.numel() <= fitting:
            yield name, tensor
            continue
        flat = tensor.reshape(-1)
        for start in range(0, len(flat), fitting):
            yield f"{name}#{start}", flat[start : start + fitting]


def _packed(pieces: Iterable[tuple[str, torch.Tensor]], most: int) -> Iterator[dict[str, torch.Tensor]]:
    part: dict[str, torch.Tensor] = {}
    used = _HEADER
    for name, tensor in pieces:
        size = _ENTRY + len(name.encode()) + tensor.numel() * tensor.element_size()
        if part and used + size > most:
            yield part
            part, used = {}, _HEADER
        part[name] = tensor
        used += size
    if part:
        yield part
