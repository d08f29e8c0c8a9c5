"""`memagent eval`: measure models and methods on tasks, side by side."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from memagent.cli.eval_view import EvalView, print_summary
from memagent.cli.options import Names, TokensList, model_options, pick_model, pick_settings, reading_options
from memagent.cli.outcome import for_eyes
from memagent.errors import OptionError, StoppedError
from memagent.evaluation.folder import ResultFolder
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.reporting import write_report
from memagent.evaluation.runner import evaluate
from memagent.evaluation.suites import QUESTIONS
from memagent.models import ModelOptions
from memagent.reading.journal import Entry


@click.command("eval", short_help="Measure models and methods on RULER, RULER-HotpotQA or problems of your own.")
@click.argument("suite")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where recipe, results, report and pictures go.",
)
@click.option(
    "--baseline",
    "baselines",
    type=Names(),
    multiple=True,
    metavar="NAME,…",
    help="Also: full, full+yarn, full+dynamic, full+linear, truncated, no-context, bm25, map-reduce.",
)
@click.option(
    "--protocols",
    type=Names(),
    default=("reading",),
    metavar="NAME,…",
    help="Protocols to read with, or none (default: --protocol, else what suits the model).",
)
@click.option("--also", "also", multiple=True, metavar="MODEL", help="Another model, with the same options.")
@click.option(
    "--tasks", type=Names(), default=(), metavar="NAME,…", help="Tasks of RULER (default: all there is data for)."
)
@click.option("--lengths", type=TokensList(), default=(), metavar="8k,64k,…", help="Lengths in tokens.")
@click.option(
    "--documents", type=TokensList(), default=(), metavar="50,100,…", help="Lengths in documents (suites of questions)."
)
@click.option("--limit", type=click.IntRange(1), default=16, show_default=True, help="Problems a task and length.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="[DATASET=]FILE",
    help="A dataset's file, or hub:OWNER/NAME; several where a suite needs several.",
)
@click.option("--paragraphs", metavar="FILE", help="More paragraphs to take distractors from.")
@click.option("--split", type=click.Choice(["dev", "train", "all"]), help="Of the dataset (default: dev, to report).")
@click.option(
    "--haystack", default="report", show_default=True, metavar="report|train|FILE", help="The text that hides needles."
)
@click.option("--metric", metavar="NAME", help="Another main score: a metric's name or package.module:function.")
@click.option(
    "--at-once",
    type=click.IntRange(1),
    help="Problems worked on together (local models: 1, so that seconds are a problem's own; endpoints: 8).",
)
@click.option("--resume", is_flag=True, help="Go on with the evaluation in the output folder.")
@reading_options
@model_options
@click.pass_context
def command(ctx: click.Context, /, suite: str, output: Path, resume: bool, **given: Any) -> int:
    """Measure how well models answer from long documents, by reading and by other methods.

    SUITE is ruler, ruler-hqa, ruler-2wiki, ruler-musique, ruler-squad, ruler-nq, qmsum, code, dialogue, a file of
    problems, or the recipe.toml of an earlier evaluation.

    \b
    memagent eval ruler --lengths 8k,64k --limit 8 --baseline full,truncated,bm25 -o results
    memagent eval ruler-hqa --source hotpot_dev_distractor_v1.json --documents 50,200 -o results
    memagent eval my-problems.jsonl --model gpt-5-mini --baseline no-context -o results
    memagent eval ruler --lengths 8k --model any --base-url http://localhost:8080/v1 \\
        --tokenizer Qwen/Qwen2.5-7B-Instruct -o results

    Exit status: 0 done, 2 bad input or setup, 3 stopped but resumable, 130 interrupted (resumable).
    """
    recipe = _stored(ctx, Path(suite)) if suite.endswith(".toml") else _given(suite, given)
    recipe.check()
    with ResultFolder.open(output, recipe, resume=resume) as folder, EvalView(for_eyes()) as view:
        try:
            asyncio.run(_evaluate(recipe, folder, view))
        except (KeyboardInterrupt, StoppedError) as error:
            _tell_so_far(recipe, folder, view)
            if isinstance(error, StoppedError):
                raise
            raise Interrupted("interrupted; what is done is kept: go on with the same command and --resume") from None
        _report(recipe, folder, missing=0)
    print_summary(for_eyes(stderr=False), folder)
    return 0


class Interrupted(click.ClickException):
    """Ctrl-C, told in one line."""

    exit_code = 130


async def _evaluate(recipe: Recipe, folder: ResultFolder, view: EvalView) -> None:
    shown = asyncio.ensure_future(view.keep_shown())
    try:
        await evaluate(recipe, folder, on_state=view.show, report=view.say)
    finally:
        shown.cancel()


def _tell_so_far(recipe: Recipe, folder: ResultFolder, view: EvalView) -> None:
    """A report on what a run came to that stopped half-way."""
    if folder.outcomes and view.state is not None:
        _report(recipe, folder, missing=view.state.total - len(folder.outcomes))
        view.say(f"report so far: {folder.path / 'report.html'}; to go on: the same command with --resume")


def _report(recipe: Recipe, folder: ResultFolder, *, missing: int) -> None:
    with folder.journal() as journal:
        write_report(
            folder.path,
            outcomes=folder.outcomes,
            peaks=list(folder.peaks.values()),
            recipe=recipe,
            missing=missing,
            turns=journal.turns,
            settings=lambda reading: _ran(journal.entry(reading)),
        )


def _ran(entry: Entry) -> dict[str, Any]:
    """Which model a reading ran on, and with which settings."""
    return {"model": entry.model.get("name"), **entry.model, **entry.settings}


def _stored(ctx: click.Context, path: Path) -> Recipe:
    """A recipe as it is: options beside it would be another one."""
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    others = [name for name in given if name not in ("suite", "output", "resume")]
    if others:
        raise OptionError(f"a recipe says all: leave out --{others[0].replace('_', '-')}, or change it in {path}")
    return Recipe.read(path)


def _given(suite: str, given: dict[str, Any]) -> Recipe:
    model = pick_model(given)
    others = tuple(pick_model({**given, "model": name}) for name in given["also"])
    baselines = tuple(name for names in given["baselines"] for name in names)
    protocols = tuple(name for name in given["protocols"] if name != "none")
    return Recipe(
        suite=suite,
        tasks=given["tasks"],
        lengths=given["lengths"],
        documents=given["documents"],
        samples=given["limit"],
        seed=given["seed"] or 0,
        sources=dict(_source(source, suite) for source in given["sources"]),
        paragraphs=given["paragraphs"],
        split=given["split"],
        haystack=given["haystack"],
        metric=given["metric"],
        methods=protocols + baselines,
        models=(model, *others),
        reading=pick_settings(given),
        at_once=given["at_once"] or _at_once(model),
    )


def _at_once(model: ModelOptions) -> int:
    """Problems worked on together: a model in this process takes one, so that its seconds are its own."""
    return 1 if model.model.partition(":")[0] == "local" else 8 * len(model.addresses)


def _source(source: str, suite: str) -> tuple[str, str]:
    dataset, equals, path = source.partition("=")
    return (dataset, path) if equals and "/" not in dataset else (QUESTIONS.get(suite, suite), source)
