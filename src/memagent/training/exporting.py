"""What a finished run is exported as besides what it leaves by itself: merged weights and GGUF, made from its adapter.

It does not train.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from memagent.errors import OptionError
from memagent.models.adapters import CARD_NAME, read_adapter
from memagent.models.pull import WHEELS, with_safetensors
from memagent.models.sources import locate
from memagent.training.exports import write_gguf, write_merged
from memagent.training.policy import Policy
from memagent.training.recipe import Recipe

ADAPTER, MERGED, GGUF = KINDS = ("adapter", "merged", "gguf")


def check_exports(recipe: Recipe, kinds: Sequence[str]) -> None:
    """Whether a run of this recipe can be exported so; worth asking before the first step.

    Raises:
        OptionError: there is no such kind, or all weights are trained and an adapter is asked for.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise OptionError(f"--export {kind}: take {', '.join(KINDS)}")
    if ADAPTER in kinds and not recipe.tuning.rank:
        raise OptionError("--export adapter: all weights are trained ([tuning] rank = 0), so there is no adapter")


def own_kind(recipe: Recipe) -> str:
    """What a run leaves by itself: the others are made from it."""
    return ADAPTER if recipe.tuning.rank else MERGED


def export(recipe: Recipe, folder: Path, kinds: Sequence[str]) -> list[Path]:
    """Write what of `kinds` the run in `folder` has not left yet; where each of `kinds` lies.

    Raises:
        SetupError: the base has no GGUF to write the weights into.
        StoppedError: it cannot be written.
    """
    own = own_kind(recipe)
    if wanted := [kind for kind in kinds if kind != own]:
        source = locate(recipe.base.name)
        card = json.loads((folder / own / CARD_NAME).read_text(encoding="utf-8"))
        policy = _policy(recipe, folder / own)
    for kind in wanted:
        write = write_merged if kind == MERGED else write_gguf
        write(policy, source, folder / kind, card)
    return [folder / kind for kind in kinds]


def _policy(recipe: Recipe, own: Path) -> Policy:
    if not recipe.tuning.rank:
        return Policy.load(own, recipe.tuning)
    source = locate(recipe.base.name)
    assert source.folder is not None  # a run was made from it
    return Policy.load(with_safetensors(source.folder), recipe.tuning, start=read_adapter(own))


def how_to_use(recipe: Recipe, folder: Path) -> list[str]:
    """Commands that read and evaluate with what was learnt."""
    own = folder / own_kind(recipe)
    if recipe.tuning.rank:
        base = "" if recipe.base.name in WHEELS else f"--model {shlex.quote(f'local:{recipe.base.name}')} "
        options = f"{base}--adapter {shlex.quote(str(own))}"
    else:  # weights by themselves do not say how they learnt to read
        card = json.loads((own / CARD_NAME).read_text(encoding="utf-8"))
        reads = ((name, card[name]) for name in ("protocol", "chunk_tokens", "memory_tokens", "read_ahead"))
        told = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in reads)
        options = f"--model {shlex.quote(f'local:{own}')} {told}"
    return [
        f'memagent ask FILE -q "…" {options}',
        f"memagent eval ruler --lengths 4k,8k -o results {options}",
    ]
