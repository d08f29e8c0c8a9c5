"""What the commands that make problems share: options, progress, one file a length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from memagent.cli.options import TokensList
from memagent.cli.outcome import for_eyes
from memagent.errors import OptionError
from memagent.models.tokenizers import load_tokenizer
from memagent.tasks import qa, records
from memagent.tasks.choosing import Chosen
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer

Function = TypeVar("Function", bound=Callable[..., Any])
DEFAULT_TOKENIZER = "smollm2-135m"
WITHOUT_LENGTHS = ("eval-json", "train-parquet")  # formats in which nobody looks for a problem's tokens

_SHARED = [
    click.option("--samples", type=click.IntRange(1), default=16, show_default=True, help="Problems at each length."),
    click.option("--seed", type=int, default=0, show_default=True, help="Other seeds draw other problems."),
    click.option("--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, metavar="NAME",
                 help="By which lengths are counted: a name that pull knows, a folder or a hub id."),
]  # fmt: skip


class Task(Protocol):
    """A module that makes problems of its own: qmsum, code, dialogue."""

    def sample(self, *, tokens: int, tokenizer: Tokenizer, source: str | None, seed: int, index: int) -> Problem:
        """Problem number `index`."""
        ...

    def fitting(self, count: int, *, tokens: int, tokenizer: Tokenizer, source: str | None, seed: int) -> Chosen:
        """The numbers of problems that come to a length."""
        ...


def format_option(default: str) -> Callable[[Function], Function]:
    """Adds --format."""
    return click.option(
        "--format", "format_name", type=click.Choice(sorted(records.WRITERS)), default=default, show_default=True
    )


def split_option(function: Function) -> Function:
    """Adds --split."""
    return click.option(
        "--split",
        type=click.Choice(qa.datasets.SPLITS),
        default="dev",
        show_default=True,
        help="train to learn from, dev to report; all takes records of an unknown split too.",
    )(function)


def shared_options(function: Function) -> Function:
    """Adds the options that every task has."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


def write(path: Path, build: Callable[[int], Problem], chosen: Chosen, format_name: str) -> None:
    """Write a file of the chosen problems with a bar on stderr, and say what was made."""
    console = for_eyes()
    began = time.monotonic()
    shown = _tracked(map(build, chosen.indices), len(chosen.indices), path.name, console)
    made = records.write(path, shown, format_name)
    console.print(f"{path}: {made:,} problem{'s' * (made != 1)}, {time.monotonic() - began:.1f} s", soft_wrap=True)


def say(chosen: Chosen) -> None:
    """On stderr, what the user should know of a choice."""
    for note in chosen.notes():
        for_eyes().print(f"note: {note}", style="yellow", soft_wrap=True)


def _tracked(problems: Iterable[Problem], count: int, name: str, console: Console) -> Iterator[Problem]:
    yield from track(problems, total=count, description=escape(name), console=console, disable=not console.is_terminal)


def questions_command(dataset: str, title: str) -> click.Command:
    """The command that builds problems from one of the datasets of questions."""

    @click.command(dataset, short_help=f"{title} among other paragraphs.", help=_HELP.format(title=title, name=dataset))
    @click.option("--source", default="", metavar="FILE", help="The dataset's file, or hub:OWNER/NAME[:CONFIG].")
    @click.option("--paragraphs", metavar="FILE", help="More paragraphs (title, text) to take distractors from.")
    @click.option("--documents", type=TokensList(), default=(), metavar="50,100,…", help="Documents of a problem.")
    @click.option("--tokens", type=TokensList(), default=(), metavar="8k,64k,…", help="Or its tokens.")
    @split_option
    @format_option("eval-json")
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR")
    @shared_options
    def command(
        output: Path, documents: tuple[int, ...], tokens: tuple[int, ...], format_name: str, **given: Any
    ) -> None:
        if bool(documents) == bool(tokens):
            raise OptionError("give --documents or --tokens, and not both")
        unit, name = ("documents", "eval_{}") if documents else ("tokens", "eval_{}_tokens")
        paths = _paths(output, name, documents or tokens, format_name)
        corpus = qa.load(dataset, given["source"], paragraphs=given["paragraphs"], split=given["split"])
        counted = tokens or format_name not in WITHOUT_LENGTHS
        how = {"seed": given["seed"], "tokenizer": load_tokenizer(given["tokenizer"]) if counted else None}
        chosen = qa.fitting(corpus, given["samples"], **{unit: min(paths), **how})
        say(chosen)
        for length, path in paths.items():
            write(path, partial(qa.build, corpus, **{unit: length, **how}), chosen, format_name)

    return command


_HELP = """{title} among other paragraphs, in documents of any length.

The questions are the same at every length: those that come with more than the shortest one holds are left out.
Problems of --split train and --split dev share no question and no distractor (docs/tasks.md).

\b
memagent data {name} --source FILE --documents 50,100,200 --samples 128 -o {name}/
memagent data {name} --source FILE --tokens 8k,64k --split train --format train-parquet -o train/
"""


def _paths(folder: Path, name: str, lengths: tuple[int, ...], format_name: str) -> dict[int, Path]:
    """The file of each length.

    Raises:
        InputError: one is there already.
    """
    paths = {length: folder / f"{name.format(length)}.{records.SUFFIXES[format_name]}" for length in lengths}
    for path in paths.values():
        records.check_new(path)
    return paths


def other_command(name: str, title: str, task: Task, source_help: str) -> click.Command:
    """The command of a task that makes its problems by itself."""

    @click.command(name, short_help=f"{title}.", help=f"{title}, in documents of any length.")
    @click.option("--source", metavar="PATH", help=source_help)
    @click.option("--tokens", type=TokensList(), required=True, metavar="8k,64k,…", help="Tokens of a problem.")
    @format_option("jsonl")
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR")
    @shared_options
    def command(output: Path, tokens: tuple[int, ...], format_name: str, **given: Any) -> None:
        paths = _paths(output, f"{name}_{{}}", tokens, format_name)
        how: dict[str, Any] = {name: given[name] for name in ("seed", "source")}
        how["tokenizer"] = load_tokenizer(given["tokenizer"])
        chosen = task.fitting(given["samples"], tokens=min(paths), **how)
        say(chosen)
        for size, path in paths.items():
            write(path, partial(_sample, task, tokens=size, **how), chosen, format_name)

    return command


def _sample(task: Task, index: int, **given: Any) -> Problem:
    return task.sample(index=index, **given)
