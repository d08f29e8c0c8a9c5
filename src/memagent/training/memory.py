"""How much memory a run needs, worked out before anything is loaded, against what the machine has.

What a block keeps for its backward pass was counted once, by hooks on saved tensors, and is held to that by a test.
Sizes are bytes. It does not know what is learnt.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from memagent.errors import SetupError
from memagent.evaluation.cost.architecture import Architecture
from memagent.models.engines.rows import bucket
from memagent.training.forecast import Sizes, widest_tree
from memagent.training.policy import Tuning
from memagent.training.recipe import Recipe
from memagent.training.scorer import LOGIT_ROWS

MASTER, HALF = 4, 2  # bytes of a number in 32 and in 16 bits
MOMENTS = 2  # numbers that AdamW keeps for each parameter
LOGIT_COPIES = 3  # logits, their softmax and its gradient
# Of what a pass would keep without checkpointing: what the C library's allocator holds on to of freed tensors. Measured
# on the CPU with glibc (docs/training.md); nothing is added for GPUs.
SLACK = 0.55
RANK = 16  # of the LoRA matrices that are proposed where all weights do not fit

# Bytes that a block keeps of each id it computes, for each value of the hidden state, of the heads' output, of the
# keys, and of the MLP's inner layer: by whether LoRA matrices are trained, and the precision.
_KEPT = {
    (True, "bf16"): (18, 6, 4, 8),
    (True, "fp32"): (16, 8, 8, 16),
    (False, "bf16"): (26, 4, 4, 8),
    (False, "fp32"): (24, 8, 8, 16),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`room` bytes for each of `processes`, of a `gpu` or of the machine's memory."""

    room: int
    gpu: bool = False
    processes: int = 1

    @classmethod
    def here(cls) -> Machine:
        """What is free now: of this process's GPU, or its share of this machine's memory."""
        gpu = torch.cuda.is_available()
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        room = int(torch.cuda.mem_get_info()[0]) if gpu else min(_free_of_machine(), _free_of_container()) // beside
        return cls(room=room, gpu=gpu, processes=int(os.environ.get("WORLD_SIZE", "1")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes that one process needs; of several, each holds everything or, sharded, its part and what it computes with.

    `activations` are those of the largest micro-batch, logits included; `slack` is what the allocator wastes; `sampler`
    the copy of the weights that samples, with the state of one row.
    """

    weights: int
    gradients: int
    optimizer: int
    reference: int
    activations: int
    slack: int
    sampler: int

    @property
    def parts(self) -> dict[str, int]:
        """By name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())


def trained_weights(model: Architecture, tuning: Tuning) -> int:
    """How many parameters are trained."""
    if not tuning.rank:
        return model.weights
    heads, keys = model.heads * model.head_width, model.kv_heads * model.head_width
    sizes = {
        "q_proj": model.hidden + heads,
        "k_proj": model.hidden + keys,
        "v_proj": model.hidden + keys,
        "o_proj": heads + model.hidden,
        **dict.fromkeys(("gate_proj", "up_proj", "down_proj"), model.experts * (model.hidden + model.inner)),
    }
    return model.layers * tuning.rank * sum(sizes.get(name, 0) for name in tuning.targets)


def need(recipe: Recipe, model: Architecture, sizes: Sizes, machine: Machine) -> Need:
    """What one process needs."""
    tuning, trained = recipe.tuning, trained_weights(model, recipe.tuning)
    full, bf16 = not tuning.rank, tuning.precision == "bf16"
    weights = model.weights * (MASTER if full or not bf16 else HALF) + (0 if full else trained * MASTER)
    # Computing in bf16 under masters casts each block's weights once a pass.
    casts = HALF * model.block_weights if full and bf16 else 0
    longest = bucket(sizes.longest)
    columns = max(recipe.learner.most_columns, longest)
    tree = bucket(widest_tree(recipe, sizes)) if recipe.kind == "rl" and recipe.learner.share else None
    plainly = activations(model, replace(tuning, checkpoint_activations=False), columns, tree=tree)
    parts = machine.processes if tuning.shard else 1
    if parts > 1:
        # While a block is computed it is whole, and the embeddings are all the time.
        blocks = weights * model.block_weights // model.weights
        weights = weights // parts + blocks // model.layers + weights - blocks
    return Need(
        weights=weights,
        gradients=trained * MASTER // parts,
        optimizer=trained * MASTER * MOMENTS // parts,
        reference=trained * MASTER // parts,
        activations=casts + activations(model, tuning, columns, tree=tree),
        slack=0 if machine.gpu else round(SLACK * plainly),
        sampler=(HALF if bf16 else MASTER) * (model.weights + model.state_values * longest),
    )


def activations(model: Architecture, tuning: Tuning, columns: int, *, tree: int | None) -> int:
    """What a pass over `columns` ids keeps for the way back; with prefixes shared in trees of `tree` ids, if any."""
    hidden, heads, keys, inner = _KEPT[bool(tuning.rank), tuning.precision]
    attention, values = model.heads * model.head_width, model.kv_heads * model.head_width
    number = HALF if tuning.precision == "bf16" else MASTER
    kept = hidden * model.hidden + heads * attention + keys * values + inner * model.active * model.inner
    if tree is not None:
        # A mask is a square, which each block keeps, and with it keys and values are repeated for each head.
        kept += number * (tree + 2 * (attention - values))
    residual = (HALF if tuning.rank and tuning.precision == "bf16" else MASTER) * model.hidden
    a_column = kept + model.layers * residual if tuning.checkpoint_activations else model.layers * kept
    return columns * a_column + LOGIT_ROWS * model.vocabulary * MASTER * LOGIT_COPIES


def check_memory(recipe: Recipe, model: Architecture, sizes: Sizes, machine: Machine) -> None:
    """Refuse a run that the machine has too little memory for.

    Raises:
        SetupError: it has; names the settings that would fit.
    """
    wanted = need(recipe, model, sizes, machine).total
    if wanted <= machine.room:
        return
    changes = fitting(recipe, model, sizes, machine)
    advice = f"it fits with {' '.join(f'--set {one}' for one in changes)}" if changes else "take a smaller base"
    raise SetupError(
        f"too little memory: about {gigabytes(wanted)} are needed and {gigabytes(machine.room)} are free; {advice}"
    )


def fitting(recipe: Recipe, model: Architecture, sizes: Sizes, machine: Machine) -> tuple[str, ...] | None:
    """The mildest changes with which the run fits, as `--set` takes them; None if none would do."""
    for changed, changes in _milder(recipe, sizes):
        if need(changed, model, sizes, machine).total <= machine.room:
            return changes
    return None


def _milder(recipe: Recipe, sizes: Sizes) -> Iterator[tuple[Recipe, tuple[str, ...]]]:
    """Recipes that need less and less. Only the rank, which comes last, alters what is learnt."""
    tuning = recipe.tuning
    ranks = [tuning.rank] if tuning.rank else [0, RANK]
    checkpoints = [True] if tuning.checkpoint_activations else [False, True]
    for rank, checkpoint, columns in itertools.product(ranks, checkpoints, _columns(recipe, sizes)):
        changed = replace(
            recipe,
            tuning=replace(tuning, rank=rank, checkpoint_activations=checkpoint),
            learner=replace(recipe.learner, most_columns=columns),
        )
        made = {
            f"tuning.rank={rank}": rank != tuning.rank,
            "tuning.checkpoint_activations=true": checkpoint != tuning.checkpoint_activations,
            f"learner.most_columns={columns}": columns != recipe.learner.most_columns,
        }
        yield changed, tuple(change for change, done in made.items() if done)


def _columns(recipe: Recipe, sizes: Sizes) -> Iterator[int]:
    """Halved and halved again, down to one conversation."""
    columns = recipe.learner.most_columns
    yield columns
    while columns // 2 >= sizes.longest:
        columns //= 2
        yield columns


def gigabytes(size: int) -> str:
    """12.3 GB."""
    return f"{size / 1e9:,.1f} GB"


def _free_of_machine() -> int:
    try:
        import psutil
    except ImportError:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**62
    return int(psutil.virtual_memory().available)


def _free_of_container(group: Path = Path("/sys/fs/cgroup")) -> int:
    """What a limit on the control group leaves; files in the cache make room when it is needed."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return 2**62 if limit == "max" else int(limit) - int(used) + int(facts["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 2**62
