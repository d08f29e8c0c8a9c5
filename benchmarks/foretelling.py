"""What a short test foretells of a reader at length: the ablations' readers, read at 4K and at 16K.

    python benchmarks/ablations.py && python benchmarks/foretelling.py

Prints for each reader its score at 4K, its false changes and how exactly it copies there, beside its score at 16K, and
how the readers' order by each of the three agrees with that by the last (Spearman's rank correlation).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import correlation

from ablations import VARIANTS, evaluated, fidelity, scored
from measuring import false_changes, plainly

READERS = [name for name, variant in VARIANTS.items() if variant.method == "reading"]


def ranks(values: Sequence[float]) -> list[float]:
    """Each value's rank from 0; equal ones share the mean of theirs."""
    below = [sum(other < value for other in values) for value in values]
    return [first + (values.count(value) - 1) / 2 for first, value in zip(below, values, strict=True)]


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where all of one side are equal."""
    if len(set(one)) < 2 or len(set(other)) < 2:
        return 0.0
    return correlation(ranks(one), ranks(other))


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=8, help="problems of each task at the longer length")
    parser.add_argument("--length", default="16k")
    given = parser.parse_args()
    columns: list[tuple[float, float, float, float]] = []
    print(f"| reader | at 4k | false changes a million tokens | copied exactly | at {given.length} |")
    print("|---|---|---|---|---|")
    for name in READERS:
        short, long = evaluated(VARIANTS[name], 24, "4k"), evaluated(VARIANTS[name], given.samples, given.length)
        found = scored(short).mean, false_changes(short), fidelity(short) or 0.0, scored(long).mean
        columns.append(found)
        shown = f"{100 * found[0]:.0f} | {found[1]:,.0f} | {100 * found[2]:.0f}% | {100 * found[3]:.0f}"
        print(f"| {name} | {shown} |", flush=True)
    *told, outcome = (list(column) for column in zip(*columns, strict=True))
    agreement = " | ".join(f"{spearman(column, outcome):+.2f}" for column in told)
    print(f"| **agreement with the order at {given.length}** | {agreement} | |")


if __name__ == "__main__":
    plainly(main)
