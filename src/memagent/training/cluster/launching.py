"""A run on verl from its recipe: everything laid out in the run's folder, checked, and started with Ray.

It does not know what verl does with it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memagent.errors import InputError, SetupError, StoppedError
from memagent.evaluation.cost.architecture import Architecture
from memagent.extras import extra
from memagent.models.tokenizers import load_tokenizer
from memagent.training.claim import claim
from memagent.training.cluster import checking, configuration, data, weights
from memagent.training.cluster.configuration import ASSUMED_TOKENS, Cluster, Places
from memagent.training.folders import write_file
from memagent.training.forecast import architecture_of, mean_chunks, plan_of, sizes_of
from memagent.training.recipe import Recipe

_RESOLVED = ("protocol", "chunk_tokens", "memory_tokens", "answer_tokens")
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A recipe whose reading is resolved, on a cluster, with verl's settings by their dotted names.

    `assumed` tells that the number of a reading's conversations is a guess.
    """

    recipe: Recipe
    cluster: Cluster
    places: Places
    model: Architecture
    settings: dict[str, Any]
    assumed: bool = False


def plan(recipe: Recipe, folder: Path, cluster: Cluster, *, wandb: bool = False) -> Run:
    """What a run would be, without fetching, reading or writing anything.

    Raises:
        OptionError: verl cannot run the recipe.
        InputError: there is no such adapter.
    """
    if recipe.base.adapter and not Path(recipe.base.adapter).is_dir():
        raise InputError(f"[base] there is no adapter {recipe.base.adapter}: name the folder that the warm start wrote")
    places = Places(model=recipe.base.name, run=folder.resolve(), adapter=recipe.base.adapter)
    return _run(recipe, cluster, places, None, wandb)


def _run(recipe: Recipe, cluster: Cluster, places: Places, conversations: float | None, wandb: bool) -> Run:
    configuration.check(recipe)
    model = architecture_of(recipe)
    read_as = plan_of(recipe, model)
    resolved = replace(recipe, reading=replace(recipe.reading, **{name: getattr(read_as, name) for name in _RESOLVED}))
    sizes = sizes_of(resolved, model)
    configuration.check_sizes(model, sizes)
    known = conversations or 1 + (mean_chunks(resolved, sizes) or 0)
    assumed = known == 1
    settings = configuration.settings(
        resolved,
        model=model,
        sizes=sizes,
        conversations=1 + -(-ASSUMED_TOKENS // sizes.chunk) if assumed else known,
        cluster=cluster,
        places=places,
        wandb=wandb,
    )
    return Run(recipe=resolved, cluster=cluster, places=places, model=model, settings=settings, assumed=assumed)


def prepare(
    recipe: Recipe, folder: Path, cluster: Cluster, *, resume: bool, wandb: bool, report: Report
) -> tuple[Run, Any]:
    """Write recipe, data, starting point and configuration into the folder; the run, and verl's checked configuration.

    Raises:
        MemagentError: recipe, data or weights cannot be used, or verl does not accept the configuration.
    """
    planned = plan(recipe, folder, cluster, wandb=wandb)
    checking.validate(checking.compose(planned.settings))  # before the folder is taken and gigabytes are written
    weights.check_cluster(planned.places.checkpoints, cluster.total)
    claim(planned.recipe, folder, resume=resume)
    model, adapter = weights.starting_point(planned.recipe, folder)
    places = replace(planned.places, model=model, adapter=adapter)
    tokenizer = load_tokenizer(model)
    mixture = data.write_problems(
        planned.recipe, tokenizer, train=places.train, held_out=places.validation, report=report
    )
    counted = data.conversations(mixture, planned.recipe, tokenizer)
    run = _run(planned.recipe, cluster, places, counted, wandb)
    write_file(places.loop, yaml(configuration.agent_loops(places)), hint="free some space")
    config = checking.compose(run.settings, joining(run))
    checking.validate(config)
    write_file(folder / "verl.yaml", checking.as_yaml(config), hint="free some space")
    return run, config


def joining(run: Run) -> dict[str, Any]:
    """What Ray is told: which cluster to join, by RAY_ADDRESS or the one of this machine."""
    return configuration.ray_settings(run.cluster, run.places, os.environ.get("RAY_ADDRESS", "auto"))


def check_installed() -> None:
    """Raise SetupError where a run could not start on this machine for want of a package."""
    for name, purpose in (("verl", "a run on verl"), ("vllm", "sampling on GPUs")):
        if importlib.util.find_spec(name) is None:
            raise SetupError(f"{purpose} needs {name}, which is not installed: pip install 'memagent[cluster]' vllm")


def launch(run: Run, config: Any) -> Path:
    """Train, then make the last checkpoint whole; where it lies.

    Raises:
        SetupError: verl or a Ray cluster is missing.
        StoppedError: the run stopped; it goes on from its last checkpoint, if there is one.
    """
    with extra("cluster", "a run on verl"):
        import ray
        from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
        from verl.utils.device import auto_set_device
    auto_set_device(config)
    try:
        run_ppo(config, TaskRunnerV1)
    except ConnectionError as error:
        raise SetupError(
            "no Ray cluster is running here: `ray start --head` on this node, and on the others "
            "`ray start --address=THIS-NODE:6379`"
        ) from error
    except (ray.exceptions.RayError, RuntimeError, ValueError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
        begun = weights.newest(run.places.checkpoints) is not None
        advice = "go on from its last checkpoint with --resume" if begun else "nothing was learnt yet"
        raise StoppedError(f"verl stopped: {why}; {advice}") from error
    return weights.make_whole(weights.newest(run.places.checkpoints), run.recipe, run.places.run)


def yaml(record: Any) -> str:
    """Plain values as YAML, in the order they have."""
    with extra("train", "writing YAML"):
        import yaml as library
    return str(library.safe_dump(record, sort_keys=False, allow_unicode=True))
