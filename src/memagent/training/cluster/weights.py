"""Weights both ways: what verl begins with, and what a checkpoint of its becomes. It does not know how it learns."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from memagent import __version__
from memagent.errors import InputError, SetupError
from memagent.extras import extra
from memagent.models.adapters import CARD_NAME, read_adapter
from memagent.models.paths import user_path
from memagent.models.pull import WHEELS, with_safetensors
from memagent.models.sources import Source, locate
from memagent.training.exporting import own_kind
from memagent.training.exports import write_merged
from memagent.training.folders import new_folder
from memagent.training.policy import Policy
from memagent.training.recipe import Recipe

START = "start"
_STEP = re.compile(r"global_step_(\d+)")
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


def _merge(recipe: Recipe, source: Source, folder: Path, adapter: Path, target: Path) -> None:
    start = read_adapter(adapter)
    policy = Policy.load(folder, recipe.tuning)
    start.check(source.name, source.base_sha256, {n: tuple(w.shape) for n, w in policy.model.state_dict().items()})
    write_merged(Policy.load(folder, recipe.tuning, start=start), source, target, start.card or {})


def newest(checkpoints: Path) -> Path:
    """The checkpoint of verl's with the most steps.

    Raises:
        InputError: there is none.
    """
    found = {int(one[1]): path for path in checkpoints.glob("global_step_*") if (one := _STEP.fullmatch(path.name))}
    if not found:
        raise InputError(f"{checkpoints} holds no checkpoint of verl (global_step_…) yet")
    return found[max(found)]


def make_whole(checkpoint: Path, recipe: Recipe, run: Path) -> Path:
    """A checkpoint's shards joined, as the run's own export: `merged` (safetensors), or `adapter` where LoRA learnt.

    `recipe` is the run's, its reading resolved.

    Raises:
        InputError: it is no checkpoint of FSDP's.
        SetupError: verl is missing, or the adapter's base is.
    """
    shards = checkpoint / "actor"
    if not (shards / "fsdp_config.json").is_file():
        raise InputError(f"{checkpoint} holds no shards of FSDP's: {shards / 'fsdp_config.json'} is missing")
    steps, target = int(checkpoint.name.rpartition("_")[2]), run / own_kind(recipe)
    with new_folder(target, hint=_HINT) as folder:
        _join(shards, folder)
        if recipe.tuning.rank:
            _only_adapter(folder)
        (folder / CARD_NAME).write_text(json.dumps(_card(recipe, steps), indent=1), encoding="utf-8")
    return target


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
    return {"base": recipe.base.name, **base, **sizes, **about}
