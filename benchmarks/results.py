"""The reader's results: what docs/results.md shows, measured by `memagent eval`, one method, task and length at a time.

    python benchmarks/results.py run       # measures what is missing; hours on a CPU, goes on where it stopped
    python benchmarks/results.py run --only "reader 64k"    # of that, cells with these words
    python benchmarks/results.py report    # docs/results.md and its picture from what is there

Every problem's score is a line of benchmarks/results.csv, without any text of the data, under a hash of the weights
and settings that it was measured with: a new adapter is measured anew. The questions come from
`data/hotpotqa.jsonl.gz`, its split dev, which nothing was trained on; RULER's tasks are generated. Lines of older
weights and settings stay in the file and are not reported.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from foretelling import foretelling
from measuring import evaluate, plainly
from memagent.atomic import replacing
from memagent.errors import OptionError
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.reporting.figures import draw_curve
from memagent.evaluation.reporting.markdown import markdown
from memagent.evaluation.reporting.sections import Section, grid, sections
from memagent.evaluation.reporting.table import Table
from memagent.models.adapters import read_adapter
from memagent.models.local import suggested
from memagent.models.shipped import FOLDER as SHIPPED

KEPT = Path(__file__).parent / "results.csv"
RUNS = Path("runs/results")
PAGE, PICTURE = Path("docs/results.md"), Path("docs/results.png")
BASE = ("--model", "local:smollm2-135m")
QUESTIONS = ("--source", "data/hotpotqa.jsonl.gz", "--paragraphs", "data/wikipedia_paragraphs.jsonl.gz")
NEEDLES = (
    "niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2", "niah_multikey_3",
    "niah_multivalue", "niah_multiquery",
)  # fmt: skip
ALL = (*NEEDLES, "vt", "cwe", "fwe", "ruler-hqa")
FEW = ("niah_multikey_1", "niah_multivalue", "vt", "ruler-hqa")
WARM = Path("runs/reader-questions/adapter")  # what reinforcement began with, made by `make reader`
# The warm start as the reader in the box reads, which was chosen for that; and by its own card, reading on as well.
HELD = ("--gate", "0.8", "--verbatim", "--sift", "0.9", "--reread")
OWN = ("--gate", "0.5", "--verbatim", "--sift", "0", "--reread")
AT_ONCE = 4  # problems read together
FIELDS = (
    "model", "method", "task", "length", "label", "index", "status", "score", "metric", "document_tokens", "seconds",
    "model_calls", "changes", "false_changes", "doubted", "quotes", "exact", "contains", "em",
)  # fmt: skip
# Of questions alone: their published score takes a fragment for the answer, and wants it in a form of its own.
STRICT = FIELDS[-2:]


@dataclass(frozen=True, slots=True)
class Method:
    """A line of the table: options of `memagent eval`, and the share of the problems that it is tried on.

    It reads by `protocol`; without one it is the baseline of its name.
    """

    name: str
    options: tuple[str, ...]
    adapter: Path | None = None
    protocol: str = ""
    share: float = 1.0

    @property
    def there(self) -> bool:
        """Whether its weights are."""
        return self.adapter is None or self.adapter.is_dir()

    @property
    def model(self) -> str:
        """What its scores are kept under: a hash of the adapter and how it reads, or the base's name."""
        if self.adapter is None:
            return "base"
        adapter = read_adapter(self.adapter)
        told = json.dumps([adapter.sha256, suggested(adapter), self.options], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tasks at one length, so many problems each, by the methods of these names."""

    length: str
    tasks: tuple[str, ...]
    samples: int
    methods: tuple[str, ...]


METHODS = (
    Method("reader", (), SHIPPED, protocol="gated"),
    Method("warm start only", ("--adapter", str(WARM), *HELD), WARM, protocol="gated"),
    Method("warm start at gate 0.5", ("--adapter", str(WARM), *OWN), WARM, protocol="gated"),
    Method("untrained", BASE, protocol="gated"),
    Method("full", BASE),
    Method("full+yarn", BASE, share=0.2),
    Method("truncated", BASE),  # this and bm25 are `full` up to the window
    Method("bm25", BASE),
    Method("no-context", BASE),
    Method("paper", BASE, protocol="paper", share=0.2),
)
# Tasks whose hay is one text, repeated: much of it is computed once for all problems, so they cost the least.
CHEAP = (*NEEDLES[:4], *NEEDLES[6:], "vt")
DEAR = (*NEEDLES[4:6], "cwe", "fwe", "ruler-hqa")
SHORT = ("no-context", "full", "untrained", "warm start only", "paper", "full+yarn")
LONG = ("no-context", "bm25", "truncated", "untrained", "warm start only", "full")
GRID = (
    Stretch("8k", CHEAP, 50, ("reader",)),
    Stretch("64k", CHEAP, 10, ("reader",)),
    Stretch("512k", FEW[:-1], 4, ("reader",)),
    Stretch("3584k", ("niah_multikey_1", "vt"), 2, ("reader",)),  # 3.5M
    Stretch("8k", DEAR, 50, ("reader",)),
    Stretch("64k", DEAR, 10, ("reader",)),
    Stretch("512k", FEW[-1:], 4, ("reader",)),
    Stretch("3584k", FEW[-1:], 1, ("reader",)),
    # The other methods, at four tasks first, so that something can soon be compared.
    *(Stretch("8k", tasks, 50, SHORT) for tasks in (FEW, ALL)),
    *(Stretch("64k", tasks, 10, LONG) for tasks in (FEW, ALL)),
    Stretch("64k", FEW, 10, ("paper",)),  # which decodes a memory at each of its sections
    Stretch("8k", ("vt", *NEEDLES[6:], "ruler-hqa"), 50, ("warm start at gate 0.5",)),  # where reinforcement told
    Stretch("64k", ("niah_multikey_1", "ruler-hqa"), 1, ("full+yarn",)),  # most of an hour a problem
)


def kept() -> list[dict[str, str]]:
    """All lines that were measured."""
    if not KEPT.exists():
        return []
    with KEPT.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells(only: Sequence[str]) -> Iterator[tuple[Stretch, Method, str]]:
    """The grid, where there are weights for it, of what has all these words."""
    for stretch in GRID:
        for method in METHODS:
            if method.name in stretch.methods and method.there:
                for task in stretch.tasks:
                    if set(only) <= {*method.name.split(), task, stretch.length}:
                        yield stretch, method, task


def models() -> dict[str, str]:
    """What each method's scores are kept under, where there are weights for it."""
    return {method.name: method.model for method in METHODS if method.there}


def missing(only: Sequence[str] = ()) -> Iterator[tuple[Stretch, Method, str, int]]:
    """What is still to be measured of what has these words: a stretch, a method, a task, how many problems of it."""
    known = {(one["model"], one["method"], one["task"], one["label"], int(one["index"])) for one in kept()}
    current = models()
    for stretch, method, task in cells(only):
        samples = max(1, round(stretch.samples * method.share))
        wanted = {(current[method.name], method.name, task, stretch.length, index) for index in range(samples)}
        if not wanted <= known:
            yield stretch, method, task, samples


def suite(task: str) -> list[str]:
    """The part of `memagent eval`'s command that names a task."""
    return ["ruler-hqa", *QUESTIONS] if task == "ruler-hqa" else ["ruler", "--tasks", task]


def measure(stretch: Stretch, method: Method, task: str, samples: int) -> None:
    """Run one cell and keep its lines."""
    folder = RUNS / method.model / f"{method.name}-{task}-{stretch.length}-{samples}".replace(" ", "-")
    baseline = [] if method.protocol else ["--baseline", method.name]
    found = evaluate(folder, *suite(task), "--lengths", stretch.length, "--limit", samples, "--at-once", AT_ONCE,
                     "--protocols", method.protocol or "none", *baseline, *method.options)  # fmt: skip
    wanted = method.protocol or method.name
    keep(method, task, stretch.length, [one for one in found if one.method == wanted])


def keep(method: Method, task: str, label: str, found: Sequence[Outcome]) -> None:
    """Add lines, in place of older ones of the same cell."""
    cell = {"model": method.model, "method": method.name, "task": task, "label": label}
    made = [_line(one, cell) for one in found]
    with FileLock(RUNS / ".lock"):  # several may measure at once
        lines = [one for one in kept() if not cell.items() <= one.items()] + made
        with replacing(KEPT) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)


def _line(one: Outcome, cell: Mapping[str, str]) -> dict[str, str]:
    told = {name: getattr(one, name, "") for name in FIELDS}
    told |= {name: one.scores.get(name) for name in STRICT}
    told |= {**cell, "seconds": round(one.seconds, 2)}
    return {name: "" if value is None else str(value) for name, value in told.items()}


def run(minutes: float, only: Sequence[str]) -> None:
    """Measure what is missing, until it is done or the time is up."""
    if next(cells(only), None) is None:
        raise OptionError(
            f"no cell has all of {', '.join(only)}: give words of a method, a task or a length, as vt or 64k"
        )
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until and (cell := next(missing(only), None)) is not None:
        stretch, method, task, samples = cell
        print(f"== {method.name}: {task} at {stretch.length}, {samples} problems", flush=True)
        measure(*cell)
        if cell == next(missing(only), None):
            raise OptionError(f"{task} at {stretch.length} has fewer than {samples} problems to measure")


def outcomes() -> Iterator[Outcome]:
    """What was measured with the weights as they are now, or last where they are not here."""
    order = {method.name: number for number, method in enumerate(METHODS)}
    known = [one for one in kept() if one["method"] in order]
    current = {one["method"]: one["model"] for one in known} | models()
    for one in sorted(known, key=lambda one: order[one["method"]]):
        if one["model"] == current[one["method"]]:
            yield _outcome(one)


def _outcome(line: dict[str, str]) -> Outcome:
    score = float(line["score"])
    return Outcome(
        problem=f"{line['task']}-{line['index']}",
        index=int(line["index"]),
        task=line["task"],
        metric=line["metric"],
        method=line["method"],
        length=int(line["length"]),
        label=line["label"],
        status=line["status"],  # type: ignore[arg-type]
        question="",
        references=(),
        reply="",
        answer="",
        score=score,
        scores={line["metric"]: score} | {name: float(line[name]) for name in STRICT if line[name]},
        document_tokens=int(line["document_tokens"]),
        seconds=float(line["seconds"]),
        false_changes=int(line["false_changes"]) if line["false_changes"] else None,
        model_calls=int(line["model_calls"]),
        changes=int(line["changes"]),
        doubted=int(line["doubted"]),
        quotes=int(line["quotes"]),
        exact=int(line["exact"]),
    )


def strictly(table: Table) -> Section:
    """The questions' scores by stricter metrics."""
    told = (
        "The score above, sub_em, takes any fragment of the answer for right (a mere 1 for 1522), and looks for it in "
        "a box or behind 'the answer is' alone. contains: an accepted answer stands in the final one, as whole words; "
        "em: it is the final one. See docs/scoring.md."
    )
    grids = (grid(table, FEW[-1], metric, metric) for metric in STRICT)
    return Section("RULER-HotpotQA by stricter scores", (told, *grids))


def report() -> None:
    """The page and the picture."""
    measured = list(outcomes())
    if not measured:
        raise OptionError(f"nothing is measured yet with these weights in {KEPT}: run it first")
    table = Table.of(measured, [])
    about = [
        "made by python benchmarks/results.py report from benchmarks/results.csv",
        "measured by python benchmarks/results.py run, which calls memagent eval for each cell",
        "base and baselines: SmolLM2-135M-Instruct as it comes; see docs/reader.md for the adapter",
        "512k and 3584k are 0.5 and 3.5 million tokens; hay of essays is the language reference, over and over",
        "truncated and bm25 are measured where the document is longer than the window (8k); below, both are full",
    ]
    unwanted = ("Cost", "All metrics", "Settings")
    found = [one for one in sections(table, {}) if one.title not in unwanted]
    found += [strictly(table), foretelling(table)]
    draw_curve(table, PICTURE)
    text = markdown("Results of the reader in the box", about, found).partition("## Readings")[0]
    PAGE.write_text(text.strip().replace("curve.png", PICTURE.name) + "\n", encoding="utf-8")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--minutes", type=float, default=1e6, help="stop before the next cell after so many")
    parser.add_argument("--only", default="", help="words of a method, a task or a length that cells must have")
    given = parser.parse_args()
    if given.what == "run":
        run(given.minutes, given.only.split())
    report()


if __name__ == "__main__":
    plainly(main)
