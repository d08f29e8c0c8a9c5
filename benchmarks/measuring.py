"""What the benchmarks share: commands of ours that go on where they stopped, what their
outcomes come to, and errors in one line.

It does not know what is measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from click import ClickException

from memagent.errors import MemagentError
from memagent.evaluation.outcome import Outcome


def plainly(main: Callable[[], None]) -> None:
    """Run a program; what is wrong with its input is one line and status 2."""
    try:
        main()
    except (MemagentError, ClickException, OSError) as error:
        said = error.format_message() if isinstance(error, ClickException) else error
        print(f"{Path(sys.argv[0]).name}: {said}", file=sys.stderr)
        raise SystemExit(2) from None


def memagent(*arguments: object) -> None:
    """A command of ours, shown; ends this program with its status where that is not 0."""
    shown = [str(argument) for argument in arguments]
    print("memagent", *shown, flush=True)
    done = subprocess.run([sys.executable, "-m", "memagent", *shown], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def evaluate(folder: Path, *options: object) -> list[Outcome]:
    """The outcomes of `memagent eval` with these options in `folder`: begun, gone on with, or there already."""
    if not _finished(folder):
        resume = ["--resume"] if (folder / "recipe.toml").exists() else []
        memagent("eval", *options, *resume, "-o", folder)
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [Outcome.from_json(json.loads(line)) for line in lines]


def differences(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[float]:
    """After minus before, problem by problem of one task."""
    first = {one.index: one.score for one in before}
    return [one.score - first[one.index] for one in after]


def false_changes(found: Sequence[Outcome]) -> float | None:
    """Changes at sections without a part of a fact, a million tokens; None where no facts are known."""
    known = [(one.false_changes, one.document_tokens) for one in found if one.false_changes is not None]
    tokens = sum(tokens for _, tokens in known)
    return 1e6 * sum(false for false, _ in known) / tokens if tokens else None


def fidelity(found: Sequence[Outcome]) -> float | None:
    """The share of copied lines that are right to the letter; None without any."""
    quotes = sum(one.quotes for one in found)
    return sum(one.exact for one in found) / quotes if quotes else None


def _finished(folder: Path) -> bool:
    """Whether there is a report, and not one on what an evaluation that was stopped had come to."""
    report = folder / "report.md"
    return report.exists() and "unfinished: " not in report.read_text(encoding="utf-8")
