"""`memagent train`: train a model to read, by a recipe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from memagent.cli.evaluate import Interrupted
from memagent.cli.options import Names
from memagent.cli.outcome import for_eyes
from memagent.cli.train_view import TrainView
from memagent.errors import DocumentError, OptionError
from memagent.extras import extra

if TYPE_CHECKING:
    from memagent.training.forecast import StepTokens
    from memagent.training.recipe import Recipe

RUNS = Path("runs")


@click.command("train", short_help="Train a model to read: warm start, or reinforcement learning over its readings.")
@click.argument("recipe", type=click.Path(path_type=Path), metavar="RECIPE.toml")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the run lives: recipe, checkpoints, log, picture, adapter (default: runs/NAME-OF-RECIPE).",
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another value for a field, as learner.lr=1e-5."
)
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder.")
@click.option("--dry-run", is_flag=True, help="Print the whole recipe, and what a step and the memory come to.")
@click.option(
    "--export",
    "exports",
    type=Names(),
    default=(),
    metavar="NAME,…",
    help="Leave also: merged (safetensors), gguf; or adapter, which LoRA leaves in any case.",
)
@click.option("--wandb", is_flag=True, help="Send the log to Weights & Biases, too.")
@click.option("--on", type=click.Choice(["verl"]), help="Run on a cluster: docs/cluster.md.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="With --on: nodes of the cluster.")
@click.option("--gpus", type=click.IntRange(1), default=8, show_default=True, help="With --on: GPUs of each node.")
@click.option("--gpu-gb", type=click.IntRange(1), default=80, show_default=True, help="With --on: memory of a GPU.")
@click.option("--whole", is_flag=True, help="With --on: train nothing; join the newest checkpoint's shards to a model.")
def command(
    recipe: Path,
    output: Path | None,
    changes: tuple[str, ...],
    resume: bool,
    dry_run: bool,
    exports: tuple[str, ...],
    wandb: bool,
    on: str | None,
    nodes: int,
    gpus: int,
    gpu_gb: int,
    whole: bool,
) -> int:
    """Train a model to read with a memory, as a recipe says: docs/training.md.

    \b
    memagent train recipes/cpu.toml --dry-run
    memagent train recipes/cpu.toml -o runs/mine --set learner.lr=2e-5
    memagent train recipes/cpu.toml -o runs/mine --set learner.lr=2e-5 --resume
    torchrun --nproc-per-node 4 -m memagent train recipes/paper-7b.toml
    memagent train recipes/paper-7b.toml --on verl --nodes 4 --gpus 8 --dry-run

    Exit status: 0 done, 2 bad input or setup, 3 stopped but resumable, 130 interrupted (resumable).
    """
    if on is None and whole:
        raise OptionError("--whole is for runs on a cluster: say --on verl")
    with extra("train", "training"):
        from memagent.training.exporting import check_exports
        from memagent.training.mixture import check_data
        from memagent.training.recipe import Recipe
    found = Recipe.read(recipe, changes)
    found.check()
    absent = check_data(found)
    check_exports(found, exports)
    folder = output or RUNS / recipe.stem
    if on is not None:
        if exports:
            raise OptionError("--export is for runs on this machine: one on verl leaves merged, or adapter with LoRA")
        places = (nodes, gpus, gpu_gb * 10**9)
        _on_cluster(found, folder, places, dry_run=dry_run, whole=whole, resume=resume, wandb=wandb)
        return 0
    if dry_run:
        click.echo(found.text(), nl=False)
        _tell_absent(absent)
    elif absent:
        raise DocumentError(f"there is no file {absent[0]}, which the recipe's [[data]] names")
    if leads():
        _forecast(found, for_eyes(), shown=dry_run)
    if not dry_run:
        _run(found, folder, resume=resume, wandb=wandb, exports=exports)
    return 0


def _on_cluster(
    recipe: Recipe, folder: Path, size: tuple[int, int, int], *, dry_run: bool, whole: bool, resume: bool, wandb: bool
) -> None:
    from memagent.cli import train_cluster
    from memagent.training.cluster.configuration import Cluster

    nodes, gpus, gpu_bytes = size
    cluster = Cluster(nodes=nodes, gpus=gpus, gpu_bytes=gpu_bytes)
    if whole:
        train_cluster.make_whole(recipe, folder)
    elif dry_run:
        train_cluster.show(recipe, folder, cluster, wandb=wandb)
    else:
        train_cluster.start(recipe, folder, cluster, resume=resume, wandb=wandb)


def leads() -> bool:
    """Whether this is the one of several processes that writes and shows."""
    return os.environ.get("RANK", "0") == "0"


def _forecast(recipe: Recipe, console: Console, *, shown: bool) -> None:
    """What the run comes to; refused if there is too little memory for it."""
    from memagent.training.forecast import architecture_of, sizes_of, step_tokens
    from memagent.training.memory import Machine, check_memory, gigabytes, need, trained_weights

    model = architecture_of(recipe)
    sizes, machine = sizes_of(recipe, model), Machine.here()
    if shown:
        wanted = need(recipe, model, sizes, machine)
        parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in wanted.parts.items())
        for line in (
            _tokens_line(step_tokens(recipe, sizes)),
            f"trained: {trained_weights(model, recipe.tuning):,} parameters; {model.name} has {model.weights:,}",
            f"memory: about {gigabytes(wanted.total)} ({parts}); {gigabytes(machine.room)} are free",
        ):
            console.print(line, soft_wrap=True)
    check_memory(recipe, model, sizes, machine)


def _tell_absent(files: Sequence[str]) -> None:
    for name in files:
        for_eyes().print(f"data: there is no file {name} here, which a run needs", soft_wrap=True)


def _tokens_line(tokens: StepTokens | None) -> str:
    if tokens is None:
        return "a step: as many tokens as the problems of the file are long"
    return f"a step: at most {tokens.plain:,} tokens as if nothing were shared, {tokens.shared:,} as computed"


def _run(recipe: Recipe, folder: Path, *, resume: bool, wandb: bool, exports: tuple[str, ...]) -> None:
    from memagent.training.exporting import export
    from memagent.training.trainer import train

    with TrainView(for_eyes() if leads() else Console(quiet=True, force_terminal=False)) as view:
        try:
            train(recipe, folder, resume=resume, on_state=view.show, report=view.say, wandb=wandb)
            if leads():
                export(recipe, folder, exports)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; go on from the last checkpoint: the same command and --resume") from None
    if leads():
        _tell_result(recipe, folder, exports)


def _tell_result(recipe: Recipe, folder: Path, exports: tuple[str, ...]) -> None:
    """What validation came to, where everything lies, and how it is used."""
    from memagent.training.curve import paired_line
    from memagent.training.exporting import how_to_use, own_kind
    from memagent.training.log import read_log
    from memagent.training.metrics import ValidationMetrics

    validations = [one for one in read_log(folder) if isinstance(one, ValidationMetrics)]
    own = own_kind(recipe)
    lines = [paired_line(validations[0], validations[-1])] if len(validations) > 1 else []
    lines.append(f"picture: {folder / 'curve.png'}; log: {folder / 'metrics.jsonl'}")
    lines += [f"{kind}: {folder / kind}" for kind in dict.fromkeys((own, *exports))]
    for line in (*lines, *how_to_use(recipe, folder)):
        for_eyes(stderr=False).print(line, soft_wrap=True)
