"""`memagent train --on verl`: what a run on a cluster would be, and starting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from memagent.cli.evaluate import Interrupted
from memagent.cli.outcome import for_eyes
from memagent.extras import extra

if TYPE_CHECKING:
    from memagent.training.cluster.configuration import Cluster
    from memagent.training.cluster.launching import Run
    from memagent.training.recipe import Recipe


def show(recipe: Recipe, folder: Path, cluster: Cluster, *, wandb: bool) -> None:
    """Print verl's configuration, and on stderr what it comes to and what was not validated."""
    from memagent.training.cluster import checking
    from memagent.training.cluster.configuration import agent_loops, nested
    from memagent.training.cluster.launching import joining, plan, yaml

    run = plan(recipe, folder, cluster, wandb=wandb)
    say = for_eyes()
    if checking.installed():
        config = checking.compose(run.settings, joining(run))
        checking.validate(config)
        click.echo(checking.as_yaml(config), nl=False)
        said = [f"verl {checking.version()} accepts the configuration", *checking.unchecked(config)]
    else:
        click.echo(yaml(nested({**run.settings, **joining(run)})), nl=False)
        said = ["verl is not installed: its own defaults are not shown, and nothing was validated"]
    _notes(run, say)
    say.print(f"agent loop: {agent_loops(run.places)[0]['_target_']}", soft_wrap=True)
    for line in said:
        say.print(f"note: {line}", soft_wrap=True)


def start(recipe: Recipe, folder: Path, cluster: Cluster, *, resume: bool, wandb: bool) -> None:
    """Lay everything out, check it, and train."""
    from memagent.training.cluster.launching import check_installed, launch, prepare

    say = for_eyes()
    check_installed()
    run, config = prepare(
        recipe, folder, cluster, resume=resume, wandb=wandb, report=lambda line: say.print(line, soft_wrap=True)
    )
    _notes(run, say)
    say.print(f"configuration: {folder / 'verl.yaml'}", soft_wrap=True)
    try:
        launch(run, config)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; go on from the last checkpoint: the same command and --resume") from None
    _tell(run.recipe, folder)


def make_whole(recipe: Recipe, folder: Path) -> None:
    """Join the newest checkpoint's shards."""
    from memagent.training.cluster import weights
    from memagent.training.cluster.configuration import Places
    from memagent.training.recipe import Recipe as Kept

    places = Places(model=recipe.base.name, run=folder.resolve())
    run = Kept.read(places.recipe)
    weights.make_whole(weights.newest(places.checkpoints), run, folder)
    _tell(run, folder)


def _notes(run: Run, say: Console) -> None:
    """Sizes, memory, and what differs from our own trainer."""
    from memagent.training.cluster.configuration import ASSUMED_TOKENS, differences, parallel
    from memagent.training.cluster.memory import need_of
    from memagent.training.forecast import sizes_of
    from memagent.training.memory import gigabytes

    cluster = run.cluster
    ways = parallel(run.model, cluster)
    found = need_of(run.recipe, run.model, sizes_of(run.recipe, run.model), gpus=cluster.total, ways=ways)
    rows = int(run.settings["actor_rollout_ref.actor.ppo_mini_batch_size"]) * run.recipe.rollouts.group
    lines = [
        f"{cluster.nodes} × {cluster.gpus} GPUs; an update learns {rows:,} conversations",
        f"memory of a GPU: about {gigabytes(found.learning)} while it learns ({gigabytes(found.state)} of it always); "
        f"{gigabytes(found.rollout_weights)} for the sampler's weights and {gigabytes(found.conversation)} for each of "
        "its conversations"
        + ("" if found.fits(cluster.gpu_bytes) else "; the state is offloaded to the nodes' memory while it samples"),
    ]
    if not found.learns(cluster.gpu_bytes):
        lines.append("note: by this it does not fit while it learns: take more GPUs, or a lower learner.most_columns")
    if not found.samples(cluster.gpu_bytes):
        lines.append("note: by this the sampler does not fit its half of a GPU: take larger ones")
    if run.assumed:
        lines.append(f"note: the data were not read: documents of {ASSUMED_TOKENS:,} tokens are assumed for an update")
    lines += [f"note: {line}" for line in differences(run.recipe)]
    for line in lines:
        say.print(line, soft_wrap=True)


def _tell(recipe: Recipe, folder: Path) -> None:
    with extra("train", "training"):
        from memagent.training.exporting import how_to_use, own_kind
    say = for_eyes(stderr=False)
    say.print(f"{own_kind(recipe)}: {folder / own_kind(recipe)}", soft_wrap=True)
    for line in how_to_use(recipe, folder):
        say.print(line, soft_wrap=True)
