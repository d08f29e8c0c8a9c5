"""What reinforcement adds to a warm start: two adapters on the same problems, and their paired difference.

    python benchmarks/share.py --before runs/reader-questions/adapter --after runs/reader-brief/adapter

RULER's needle tasks and variable tracking are generated; the questions are those of `data/hotpotqa.jsonl.gz`, split
dev, which nothing was trained on. It goes on where it stopped; what each adapter did lies in runs/share, a folder each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from measuring import differences, evaluate, false_changes, plainly
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.statistics import Estimate, interval, paired
from memagent.models.adapters import read_adapter
from results import AT_ONCE, suite

RUNS = Path("runs/share")
TASKS = ("niah_multikey_3", "niah_multiquery", "niah_multivalue", "vt", "ruler-hqa")
Pair = tuple[list[Outcome], list[Outcome]]  # of the same problems, before and after


def read(adapter: Path, task: str, given: argparse.Namespace) -> list[Outcome]:
    """What an adapter makes of one task, measured where it is missing."""
    reread = "--reread" if given.reread else "--no-reread"
    how = ["--gate", given.gate, "--verbatim", "--sift", given.sift, reread]
    named = f"{task}-{given.length}-{given.samples}-gate{given.gate}-sift{given.sift}{reread.removeprefix('-')}"
    return evaluate(
        RUNS / read_adapter(adapter).sha256[:12] / named, *suite(task), "--lengths", given.length, "--limit",
        given.samples, "--adapter", adapter, "--protocols", "gated", "--at-once", AT_ONCE, *how,
    )  # fmt: skip


def strictly(found: Sequence[Outcome]) -> list[Outcome]:
    """Scored by whether an accepted answer stands in the final one: the published score takes a fragment for right."""
    return [replace(one, score=one.scores["contains"]) for one in found]


def row(name: str, pairs: Sequence[Pair]) -> str:
    """A line of the table: a task's readings with the warm start and with RL, or those of several tasks."""
    scores = [interval(*([one.score for one in found] for found in side)) for side in zip(*pairs, strict=True)]
    changed = paired(*(differences(before, after) for before, after in pairs))
    false = [false_changes([one for found in side for one in found]) for side in zip(*pairs, strict=True)]
    told = (name, f"{sum(len(after) for _, after in pairs)}", *map(shown, (*scores, changed)))
    rates = ("–" if one is None else f"{one:,.0f}" for one in false)
    return f"| {' | '.join(told)} | {' → '.join(rates)} |"


def shown(found: Estimate) -> str:
    """In percent, with its interval."""
    return f"{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def main() -> None:
    """Measure what is missing, and print the table."""
    given = options()
    adapters = (given.before, given.after)
    for adapter in adapters:
        read_adapter(adapter)  # what is missing shows before hours of work
    print(f"\n| task at {given.length} | n | warm start | with RL | difference, paired | false changes a million |")
    print("|---|---|---|---|---|---|")
    pairs: list[Pair] = []
    for task in TASKS:
        before, after = (read(adapter, task, given) for adapter in adapters)
        pairs.append((before, after))
        print(row(task, pairs[-1:]), flush=True)
        if "contains" in after[0].scores:
            print(row("… strictly", [(strictly(before), strictly(after))]), flush=True)
    print(row("all", pairs))


def options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the warm start's adapter")
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--length", default="2k")
    parser.add_argument("--samples", type=int, default=80, help="problems of each task")
    parser.add_argument("--gate", type=float, default=0.8, help="this and the next two are `memagent eval`'s")
    parser.add_argument("--sift", type=float, default=0.9)
    parser.add_argument("--reread", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


if __name__ == "__main__":
    plainly(main)
