"""What each part is worth: short training runs that differ in one thing, evaluated on the same problems.

    python benchmarks/ablations.py                     # all; goes on where it stopped
    python benchmarks/ablations.py --only overwrite

Each variant is recipes/ablation.toml with a change (48 supervised steps of 4 turns and their crossed ones), those with
RL with recipes/ablation-rl.toml behind it; some only read the same weights in another way. Scores are by `memagent
eval`. They rank choices; none of them is a reader to use. The runs lie in runs/ablations, one folder each, and the
table in its report.md, with a picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measuring import differences, evaluate, false_changes, fidelity, memagent, plainly
from memagent.errors import OptionError
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.reporting.figures import COLOURS
from memagent.evaluation.statistics import Estimate, interval, paired

FOLDER = Path("runs/ablations")
TASKS = ("niah_single_2", "vt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """`warm` and `rl` are changes to the two recipes (`rl` None: no second run), `reads` options of `memagent eval`.

    What is evaluated is the reading, or the baseline `method`.
    """

    warm: Mapping[str, object] = field(default_factory=dict)
    rl: Mapping[str, object] | None = None
    reads: tuple[str, ...] = ()
    method: str = "reading"


def groups_of(size: int) -> dict[str, object]:
    """32 readings a batch, in groups of so many."""
    return {"rollouts.group": size, "rollouts.problems": 32 // size}


VARIANTS: Mapping[str, Variant] = {
    "reference (chunk 256, memory 128)": Variant(),
    "without memory (all of the text in one window)": Variant(method="full"),
    "without gate (the paper's protocol)": Variant(warm={"reading.protocol": "paper", "warm_start.crossed": 0}),
    "overwrite instead of append": Variant(warm={"warm_start.reply": "write"}),
    "without crossed sections": Variant(warm={"warm_start.crossed": 0}),
    "unbalanced loss": Variant(warm={"warm_start.balance": False}),
    "additions confirmed (--confirm)": Variant(reads=("--confirm",)),
    "additions as quotes (--verbatim)": Variant(reads=("--verbatim",)),
    "with RL, groups of 4": Variant(rl=groups_of(4)),
    "with RL, groups of 8": Variant(rl=groups_of(8)),
    "with RL, groups of 16": Variant(rl=groups_of(16)),
    # A memory's size is no part of a turn, but what it is cut at: it has no training of its own.
    **{
        f"chunk {chunk}, memory {memory}": Variant(
            warm={} if chunk == 256 else {"reading.chunk_tokens": chunk}, reads=("--memory-tokens", str(memory))
        )
        for chunk in (256, 512, 1024)
        for memory in (64, 128, 256)
        if (chunk, memory) != (256, 128)
    },
}


def folder_of(kind: str, changes: Mapping[str, object]) -> Path:
    """Runs that are the same share a folder."""
    told = "-".join(f"{name.partition('.')[2]}={value}" for name, value in changes.items())
    return FOLDER / f"{kind}-{told or 'reference'}"


def trained(kind: str, recipe: str, changes: Mapping[str, object], more: Sequence[str] = ()) -> Path:
    """The adapter of a run, made where it is missing."""
    folder = folder_of(kind, changes)
    if not (folder / "adapter").is_dir():
        given = [*more, *(f"{name}={json.dumps(value)}" for name, value in changes.items())]
        resume = ["--resume"] if (folder / "recipe.toml").exists() else []
        sets = [word for one in given for word in ("--set", one)]
        memagent("train", recipe, "-o", folder, *sets, *resume)
    return folder / "adapter"


def evaluated(variant: Variant, samples: int, length: str) -> list[Outcome]:
    """The outcomes of a variant, made where they are missing."""
    adapter = trained("warm", "recipes/ablation.toml", variant.warm)
    if variant.rl is not None:
        adapter = trained("rl", "recipes/ablation-rl.toml", variant.rl, [f"base.adapter={adapter}"])
    reads = [word.lstrip("-") for word in variant.reads]
    results = adapter.parent / "-".join([variant.method, length, str(samples), *reads])
    methods = ["--protocols", "none", "--baseline", variant.method] if variant.method != "reading" else []
    found = evaluate(results, "ruler", "--tasks", ",".join(TASKS), "--lengths", length, "--limit", samples,
                     "--adapter", adapter, *methods, *variant.reads)  # fmt: skip
    return [one for one in found if one.method == variant.method]


def scored(found: Sequence[Outcome]) -> Estimate:
    """The mean score over the tasks."""
    return interval(*([one.score for one in of_task(found, task)] for task in TASKS))


def of_task(found: Sequence[Outcome], task: str) -> list[Outcome]:
    """Those of one task."""
    return [one for one in found if one.task == task]


def against(found: Sequence[Outcome], reference: Sequence[Outcome]) -> Estimate:
    """The mean difference to the reference on the same problems."""
    return paired(*(differences(of_task(reference, task), of_task(found, task)) for task in TASKS))


def row(name: str, found: Sequence[Outcome], reference: Sequence[Outcome]) -> str:
    """A line of the table."""
    score, beside = scored(found), against(found, reference)
    false, copied = false_changes(found), fidelity(found)
    of_tasks = (interval([one.score for one in of_task(found, task)]).mean for task in TASKS)
    told = (
        name,
        f"{100 * score.mean:.1f} [{100 * score.low:.0f}, {100 * score.high:.0f}]",
        " · ".join(f"{100 * mean:.0f}" for mean in of_tasks),
        "" if found == reference else f"{100 * beside.mean:+.1f} [{100 * beside.low:.0f}, {100 * beside.high:.0f}]",
        "–" if false is None else f"{false:,.0f}",
        "–" if copied is None else f"{100 * copied:.0f}%",
    )
    return f"| {' | '.join(told)} |"


def table(variants: Mapping[str, Variant], samples: int, length: str) -> Iterator[str]:
    """The report, a line at a time, each variant when it is done."""
    yield f"Scores in percent at {length}, {samples} problems of each of {' and '.join(TASKS)}."
    yield ""
    yield (
        f"| variant | mean [95%] | {' · '.join(TASKS)} | against the reference, paired "
        "| false changes a million tokens | copied exactly |"
    )
    yield "|---|---|---|---|---|---|"
    reference = evaluated(Variant(), samples, length)
    for name, variant in variants.items():
        yield row(name, evaluated(variant, samples, length), reference)


def draw(scores: Mapping[str, Estimate], title: str, path: Path) -> None:
    """Bars of mean scores with their intervals, the reference's as a line through all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.36 * len(scores) + 1.2), layout="constrained")
    axis = figure.subplots()
    means = [100 * score.mean for score in scores.values()]
    lows = [100 * (score.mean - score.low) for score in scores.values()]
    highs = [100 * (score.high - score.mean) for score in scores.values()]
    colours = [COLOURS[1], *[COLOURS[0]] * (len(scores) - 1)]
    axis.barh(list(scores), means, xerr=(lows, highs), color=colours, error_kw={"elinewidth": 1, "capsize": 2})
    axis.axvline(means[0], color=COLOURS[1], linewidth=0.8, linestyle=":")
    axis.invert_yaxis()
    axis.set(xlim=(0, 100), xlabel="score, %", title=title)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--length", default="4k")
    parser.add_argument("--only", default="", help="variants whose names contain this")
    given = parser.parse_args()
    chosen = {name: variant for name, variant in VARIANTS.items() if given.only in name}
    if not chosen:
        raise OptionError(f"no variant has {given.only} in its name: {'; '.join(VARIANTS)}")
    lines = []
    for line in table(chosen, given.samples, given.length):
        lines.append(line)
        print(line, flush=True)
    if chosen == VARIANTS:
        (FOLDER / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        scores = {name: scored(evaluated(variant, given.samples, given.length)) for name, variant in VARIANTS.items()}
        draw(scores, f"{' and '.join(TASKS)} at {given.length}", FOLDER / "report.png")


if __name__ == "__main__":
    plainly(main)
