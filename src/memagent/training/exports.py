"""What a run leaves for others to use: a PEFT adapter, merged safetensors, or a GGUF file, each a folder of its own.

Each folder holds `memagent.json`, which says on which base and for what reading it was trained. It does not know
how any of it was learnt. Weights that are spread over several processes must be made whole first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from memagent import __version__
from memagent.errors import OptionError, SetupError
from memagent.extras import extra
from memagent.models.adapters import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, LowRank
from memagent.models.gguf_files import GGUF, hub_name, to_gguf_rows
from memagent.models.pull import GGUF_NAME
from memagent.models.sources import Source
from memagent.reading.settings import Plan
from memagent.training.folders import new_folder
from memagent.training.policy import Policy
from memagent.training.tensor_files import write_tensors

if TYPE_CHECKING:
    from memagent.models.gguf_files import Array

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHARD_BYTES = 2**30
_ENTRY_BYTES = 256  # no less than a tensor takes in a file's header
# What of a base's folder is copied. Its manifest and indices are of its own weights, and stay behind.
_TOKENIZER = ("tokenizer*", "*.jinja", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_LICENCE = ("LICENSE*", "NOTICE*")
_HINT = "free some space and export again"
_PEFT = "base_model.model."


def card(source: Source, plan: Plan, about: Mapping[str, Any]) -> dict[str, Any]:
    """What `memagent.json` says: the base and its hash, how to read, and `about` the run whatever JSON can hold.

    Raises:
        OptionError: `about` would hide what the card has to say.
    """
    told = {
        "base": source.name,
        "base_sha256": source.base_sha256,
        "protocol": plan.protocol,
        "chunk_tokens": plan.chunk_tokens,
        "memory_tokens": plan.memory_tokens,
        "read_ahead": plan.read_ahead,
        "version": __version__,
    }
    if hidden := told.keys() & about.keys():
        raise OptionError(f"what is noted about a run cannot be called {sorted(hidden)[0]}")
    return {**told, **about}


def check_adapter(policy: Policy, *, dtype: str = "fp32", most_bytes: int | None = None) -> None:
    """Whether `write_adapter` can write one; worth asking before the first step.

    Raises:
        OptionError: all weights are trained, `dtype` is unknown, or the file would have more than `most_bytes`.
    """
    if not policy.tuning.rank:
        raise OptionError("all weights are trained ([tuning] rank = 0): there is no adapter, export merged weights")
    width = _dtype(dtype).itemsize
    size = sum(tensor.numel() * width + _ENTRY_BYTES for tensor in policy.trained.values())
    if most_bytes is not None and size > most_bytes:
        raise OptionError(
            f"the adapter takes {size / 2**20:.1f} MiB as {dtype}, more than {most_bytes / 2**20:.1f} MiB, and PEFT "
            "reads it from one file: export it as bf16, or lower [tuning] rank"
        )


def write_adapter(
    policy: Policy, target: Path, card: Mapping[str, Any], *, dtype: str = "fp32", most_bytes: int | None = None
) -> None:
    """Write the LoRA matrices as a folder that PEFT, vLLM and `--adapter` read, in place of what stands at `target`.

    Raises:
        OptionError: as `check_adapter`.
        StoppedError: it cannot be written.
    """
    check_adapter(policy, dtype=dtype, most_bytes=most_bytes)
    kind = _dtype(dtype)
    with new_folder(target, hint=_HINT) as folder:
        _write_json(folder / CONFIG_NAME, _peft_config(policy, str(card["base"])))
        write_tensors(
            folder / WEIGHTS_NAME, {name: tensor.to(kind) for name, tensor in policy.adapter_weights().items()}
        )
        _write_json(folder / CARD_NAME, card)


def write_merged(
    policy: Policy,
    source: Source,
    target: Path,
    card: Mapping[str, Any],
    *,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the whole model as a folder of Hugging Face's, in place of what stands at `target`.

    `dtype` None is the base's own. Files have at most `shard_bytes` and a header, or hold one tensor. With LoRA in
    bf16, what the matrices are added to are the bf16 weights that they were trained on.

    Raises:
        OptionError: `dtype` is unknown.
        StoppedError: it cannot be written.
    """
    base = _base(source)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    own = config.pop("torch_dtype", None) or config.get("dtype")  # renamed in transformers 4.56
    kind = _named(str(own)) if dtype is None else _dtype(dtype)
    with new_folder(target, hint=_HINT) as folder:
        weights = ((name, tensor.detach().to("cpu", kind)) for name, tensor in policy.merged_weights())
        _write_shards(folder, weights, shard_bytes)
        _copy(base, folder, ("generation_config.json", *_TOKENIZER, *_LICENCE))
        _write_json(folder / "config.json", {**config, "dtype": str(kind).removeprefix("torch.")})
        _write_json(folder / CARD_NAME, card)


def write_gguf(policy: Policy, source: Source, target: Path, card: Mapping[str, Any]) -> None:
    """Write the whole model as F16 GGUF, with the tokenizer's files, in place of what stands at `target`.

    Raises:
        SetupError: the base has no GGUF, or one with other tensors.
        StoppedError: it cannot be written.
    """
    if source.gguf is None:
        raise SetupError(
            f"{source.name} has no GGUF to write the trained weights into: export merged weights, and convert "
            "them with llama.cpp's convert_hf_to_gguf.py"
        )
    file = GGUF(source.gguf)
    change = _low_rank_change(policy, file) if policy.tuning.rank else _full_change(policy, file)
    with new_folder(target, hint=_HINT) as folder:
        file.rewrite(folder / GGUF_NAME, change)
        _copy(_base(source), folder, (*_TOKENIZER, *_LICENCE))
        _write_json(folder / CARD_NAME, card)


def _peft_config(policy: Policy, base: str) -> dict[str, Any]:
    with extra("train", "writing an adapter"):
        import peft
    tuning = policy.tuning
    record = peft.LoraConfig(
        r=tuning.rank,
        lora_alpha=int(tuning.alpha) if tuning.alpha == int(tuning.alpha) else tuning.alpha,
        target_modules=list(tuning.targets),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    ).to_dict()
    # Sets come in another order in each process, and the file's hash is the adapter's.
    return {name: sorted(value) if isinstance(value, set) else value for name, value in sorted(record.items())}


def _write_shards(folder: Path, weights: Iterable[tuple[str, torch.Tensor]], most: int) -> None:
    """Shards are written as they fill up, so that no second copy of the model is in memory."""
    places: dict[str, int] = {}
    total = 0
    for number, shard in enumerate(_sharded(weights, most)):
        write_tensors(folder / f"{number}.safetensors", shard)
        places |= dict.fromkeys(shard, number)
        total += sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
    count = 1 + max(places.values())
    names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    if count == 1:
        names = ["model.safetensors"]
    for number, name in enumerate(names):
        (folder / f"{number}.safetensors").rename(folder / name)
    if count > 1:
        index = {"metadata": {"total_size": total}, "weight_map": {name: names[at] for name, at in places.items()}}
        _write_json(folder / "model.safetensors.index.json", index)


def _sharded(weights: Iterable[tuple[str, torch.Tensor]], most: int) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    used = 0
    for name, tensor in weights:
        size = tensor.numel() * tensor.element_size()
        if shard and used + size > most:
            yield shard
            shard, used = {}, 0
        shard[name] = tensor
        used += size
    yield shard


def _low_rank_change(policy: Policy, file: GGUF) -> Callable[[str, Array], Array]:
    parts = _low_ranks(policy)
    _same_names(parts, file, all_of_them=False)

    def change(tensor: str, array: Array) -> Array:
        part = parts.get(hub_name(tensor))
        return array if part is None else array + to_gguf_rows(part.delta(), file.heads(tensor))

    return change


def _full_change(policy: Policy, file: GGUF) -> Callable[[str, Array], Array]:
    weights = dict(policy.merged_weights())
    _same_names(weights, file, all_of_them=True)

    def change(tensor: str, array: Array) -> Array:
        return to_gguf_rows(_array(weights[hub_name(tensor)]), file.heads(tensor))

    return change


def _same_names(learnt: Mapping[str, Any], file: GGUF, *, all_of_them: bool) -> None:
    """Nothing that was learnt may be left out silently, and with all weights nothing may stay as it was."""
    held = set(map(hub_name, file.shapes()))
    odd = sorted(set(learnt) ^ held if all_of_them else set(learnt) - held)
    if odd:
        raise SetupError(f"{file.path} and the trained model do not hold the same weights: {odd[0]} is in one of them")


def _low_ranks(policy: Policy) -> dict[str, LowRank]:
    halves = policy.adapter_weights()
    downs = {name: tensor for name, tensor in halves.items() if name.endswith(".lora_A.weight")}
    scale = policy.tuning.alpha / policy.tuning.rank
    return {
        name.removeprefix(_PEFT).replace(".lora_A", ""): LowRank(
            _array(down), _array(halves[name.replace(".lora_A", ".lora_B")]), scale
        )
        for name, down in downs.items()
    }


def _array(tensor: torch.Tensor) -> Array:
    found: Array = tensor.detach().float().cpu().numpy()
    return found


def _base(source: Source) -> Path:
    if source.folder is None or not (source.folder / "config.json").is_file():
        raise SetupError(f"{source.name} has no config.json beside its weights: train from a folder of safetensors")
    return source.folder


def _copy(base: Path, folder: Path, patterns: Iterable[str]) -> None:
    for path in sorted({found for pattern in patterns for found in base.glob(pattern)}):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise OptionError(f"weights are exported as {', '.join(DTYPES)}, not as {name!r}")
    return DTYPES[name]


def _named(name: str) -> torch.dtype:
    """The dtype that a config.json names."""
    found = getattr(torch, name, None)
    return found if isinstance(found, torch.dtype) and found in DTYPES.values() else torch.float32
