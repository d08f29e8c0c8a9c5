"""Weights both ways: what verl begins with, and what a checkpoint of its becomes. It does not know how it learns."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from memagent import __version__
from memagent.errors import InputError, OptionError, SetupError
from memagent.extras import extra
from memagent.models.adapters import CARD_NAME, Adapter, read_adapter
from memagent.models.paths import user_path
from memagent.models.pull import WHEELS, with_safetensors
from memagent.models.sources import Source, locate
from memagent.training.exporting import own_kind
from memagent.training.exports import write_merged
from memagent.training.folders import new_folder
from memagent.training.policy import Policy, Tuning
from memagent.training.recipe import Recipe

START = "start"
TRACKER = "latest_checkpointed_iteration.txt"  # written last, and what verl itself goes on from
_FSDP = "fsdp_config.json"
_HINT = "free some space and try again"


def of_hub(recipe: Recipe) -> bool:
    """Whether the base is neither embedded nor on this disk, so that verl fetches it."""
    return recipe.base.name not in WHEELS and not user_path(recipe.base.name).exists()


def starting_point(recipe: Recipe, run: Path) -> tuple[str, str]:
    """A model's path or hub id, and an adapter's path or nothing, for verl to begin with.

    Where all weights learn, an adapter is merged into the base first, in the run's folder.

    Raises:
        MemagentError: base or adapter are missing or do not fit.
    """
    adapter = user_path(recipe.base.adapter).resolve() if recipe.base.adapter else None
    if adapter is not None and recipe.tuning.rank:
        check_fit(read_adapter(adapter), recipe.tuning)
    if of_hub(recipe) and (adapter is None or recipe.tuning.rank):
        return recipe.base.name, str(adapter or "")
    source = locate(recipe.base.name)
    if source.folder is None:
        raise SetupError(f"verl begins with safetensors, and {source.name} has none")
    folder = with_safetensors(source.folder)
    if adapter is None or recipe.tuning.rank:
        return str(folder.resolve()), str(adapter or "")
    if not (run / START).exists():
        _merge(recipe, source, folder, adapter, run / START)
    return str((run / START).resolve()), ""


def check_fit(adapter: Adapter, tuning: Tuning) -> None:
    """Raise OptionError where an adapter has not the rank and the targets that are to be trained."""
    ranks = {part.down.shape[0] for part in adapter.parts.values()}
    targets = {name.removesuffix(".weight").rpartition(".")[2] for name in adapter.parts}
    if ranks != {tuning.rank} or targets != set(tuning.targets):
        raise OptionError(f"the adapter {adapter.folder} has another rank or other targets than [tuning]")


def _merge(recipe: Recipe, source: Source, folder: Path, adapter: Path, target: Path) -> None:
    start = read_adapter(adapter)
    policy = Policy.load(folder, recipe.tuning)
    start.check(source.name, source.base_sha256, {n: tuple(w.shape) for n, w in policy.model.state_dict().items()})
    write_merged(Policy.load(folder, recipe.tuning, start=start), source, target, start.card or {})


def newest(checkpoints: Path) -> Path | None:
    """The last checkpoint that verl has written to its end, if there is one."""
    try:
        return checkpoints / f"global_step_{int((checkpoints / TRACKER).read_text())}"
    except (OSError, ValueError):
        return None


def check_cluster(checkpoints: Path, gpus: int) -> None:
    """Raise OptionError where a run is to go on with another number of GPUs: FSDP's shards are one a GPU."""
    last = newest(checkpoints)
    if last is None or not (last / "actor" / _FSDP).is_file():
        return
    ranks = _ranks(last / "actor")
    if ranks != gpus:
        raise OptionError(
            f"the run in {checkpoints.parent} has shards for {ranks} GPUs: go on with as many, not {gpus}"
        )


def _ranks(shards: Path) -> int:
    return int(json.loads((shards / _FSDP).read_text(encoding="utf-8"))["world_size"])


def make_whole(checkpoint: Path | None, recipe: Recipe, run: Path) -> Path:
    """A checkpoint's shards joined, as the run's own export: `merged` (safetensors), or `adapter` where LoRA learnt.

    `recipe` is the run's, its reading resolved.

    Raises:
        InputError: there is none yet, or shards of it are missing.
        SetupError: verl is missing, or the adapter's base is.
    """
    if checkpoint is None:
        raise InputError(f"{run} holds no checkpoint of verl yet")
    shards = checkpoint / "actor"
    _check_shards(shards)
    steps, target = int(checkpoint.name.rpartition("_")[2]), run / own_kind(recipe)
    with new_folder(target, hint=_HINT) as folder:
        _join(shards, folder)
        if recipe.tuning.rank:
            _only_adapter(folder)
        (folder / CARD_NAME).write_text(json.dumps(_card(recipe, steps), indent=1), encoding="utf-8")
    return target


def _check_shards(shards: Path) -> None:
    if not (shards / _FSDP).is_file():
        raise InputError(f"{shards} holds no shards of FSDP's: {_FSDP} is missing")
    ranks = _ranks(shards)
    names = [f"model_world_size_{ranks}_rank_{rank}.pt" for rank in range(ranks)]
    missing = [name for name in names if not (shards / name).is_file()]
    if missing:
        raise InputError(f"{shards} lacks {missing[0]}: are all nodes' shards on one file system?")


def _join(shards: Path, target: Path) -> None:
    """By verl's own merger, whose remarks go to stderr."""
    with extra("cluster", "making a checkpoint of verl whole"):
        from verl.model_merger.base_model_merger import ModelMergerConfig
        from verl.model_merger.fsdp_model_merger import FSDPModelMerger
    config = ModelMergerConfig(
        operation="merge",
        backend="fsdp",
        local_dir=str(shards),
        target_dir=str(target),
        hf_model_config_path=str(shards / "huggingface"),
    )
    with contextlib.redirect_stdout(sys.stderr):
        FSDPModelMerger(config).merge_and_save()


def _only_adapter(folder: Path) -> None:
    """The adapter's files in place of the base's."""
    inner = folder / "lora_adapter"
    for path in [path for path in folder.iterdir() if path != inner]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list(inner.iterdir()):
        path.rename(folder / path.name)
    inner.rmdir()


def _card(recipe: Recipe, steps: int) -> dict[str, Any]:
    """What `memagent.json` says; an adapter is bound to its base by the hash of that."""
    reading = recipe.reading
    sizes = {name: getattr(reading, name) for name in ("protocol", "chunk_tokens", "memory_tokens")}
    base = {"base_sha256": locate(recipe.base.name).base_sha256} if recipe.tuning.rank else {}
    about = {"read_ahead": reading.read_ahead or 8, "version": __version__, "trained_on": "verl", "steps": steps}
    return {"base": recipe.base.name, **base, **sizes, **about, **recipe.output.reads.told()}
