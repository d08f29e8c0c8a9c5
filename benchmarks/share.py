"""What reinforcement adds to a warm start: two adapters on the same problems, and their paired difference.

    python benchmarks/share.py --before runs/reader-questions/adapter --after runs/reader-brief/adapter

RULER's needle tasks and variable tracking are generated; the questions are those of `data/hotpotqa.jsonl.gz`, split
dev, which nothing was trained on. It goes on where it stopped; what each adapter did lies in runs/share, a folder each.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from measuring import differences, evaluate, false_changes, plainly
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.statistics import Estimate, interval, paired
from memagent.models.adapters import read_adapter
from results import AT_ONCE, suite

RUNS = Path("runs/share")
TASKS = ("niah_multikey_3", "niah_multiquery", "niah_multivalue", "vt", "ruler-hqa")


def read(adapter: Path, task: str, given: argparse.Namespace) -> list[Outcome]:
    """What an adapter makes of one task, measured where it is missing."""
    reread = "--reread" if given.reread else "--no-reread"
    how = ["--gate", given.gate, "--verbatim", "--sift", given.sift, reread]
    named = f"{task}-{given.length}-{given.samples}-gate{given.gate}-sift{given.sift}{reread.removeprefix('-')}"
    return evaluate(
        RUNS / read_adapter(adapter).sha256[:12] / named, *suite(task), "--lengths", given.length, "--limit",
        given.samples, "--adapter", adapter, "--protocols", "gated", "--at-once", AT_ONCE, *how,
    )  # fmt: skip


def shown(found: Estimate) -> str:
    """In percent, with its interval."""
    return f"{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the warm start's adapter")
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--length", default="2k")
    parser.add_argument("--samples", type=int, default=80, help="problems of each task")
    parser.add_argument("--gate", type=float, default=0.8, help="this and the next two are `memagent eval`'s")
    parser.add_argument("--sift", type=float, default=0.9)
    parser.add_argument("--reread", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    for adapter in (given.before, given.after):
        read_adapter(adapter)  # what is missing shows before hours of work
    scores: dict[str, list[list[float]]] = defaultdict(list)
    print(f"\n| task at {given.length} | n | warm start | with RL | difference, paired | false changes a million |")
    print("|---|---|---|---|---|---|")
    for task in TASKS:
        before, after = (read(adapter, task, given) for adapter in (given.before, given.after))
        changes = differences(before, after)
        for name, values in (("before", [one.score for one in before]), ("after", [one.score for one in after])):
            scores[name].append(values)
        scores["difference"].append(changes)
        one = [interval(values[-1]) for values in (scores["before"], scores["after"])]
        print(f"| {task} | {len(after)} | {shown(one[0])} | {shown(one[1])} | {shown(paired(changes))} "
              f"| {false_changes(before):,.0f} → {false_changes(after):,.0f} |", flush=True)  # fmt: skip
    whole = shown(interval(*scores["before"])), shown(interval(*scores["after"])), shown(paired(*scores["difference"]))
    print(f"| all | {sum(map(len, scores['after']))} | {' | '.join(whole)} | |")


if __name__ == "__main__":
    plainly(main)
