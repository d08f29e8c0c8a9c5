"""report.md says all there is to say, and nothing in it becomes markup."""

import re

import pytest
from tests.evaluation.reporting.cases import EVIL, grid, outcome, peaks

from memagent.evaluation.recipe import Recipe
from memagent.evaluation.reporting.markdown import markdown, plain
from memagent.evaluation.reporting.sections import about, sections
from memagent.evaluation.reporting.table import Table
from memagent.evaluation.statistics import interval, paired
from memagent.models import ModelOptions


def report(outcomes, memory=(), *, missing=0, ran=None, recipe=None):
    table = Table.of(outcomes, memory)
    recipe = recipe or Recipe(suite="ruler", seed=3)
    return markdown("Evaluation: ruler", about(recipe, table, missing), sections(table, ran or {}))


def rows(text, title):
    """The tables of a section, as lists of cells."""
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    found = next(part for part in section if part.startswith(title))
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found.splitlines() if line[:1] == "|"]


def shown(found):
    return f"{100 * found.mean:.1f} [{100 * found.low:.0f}, {100 * found.high:.0f}] n={found.count}"


def test_every_score_has_its_interval_and_count():
    outcomes = grid()
    text = report(outcomes)
    average, right = interval([1.0] * 4, [1.0] * 4), interval([0, 1, 1, 1])
    assert rows(text, "Scores\n")[2] == ["gated", *[shown(average)] * 3]
    assert rows(text, "Scores by task").count(["full", *[shown(right)] * 3]) == 2
    metrics = rows(text, "All metrics")
    assert metrics[0] == ["method", "length", "ruler_all", "em"] and len(metrics) == 2 + 6
    assert metrics[2] == ["gated", "8k", shown(average), shown(interval([0.5] * 4, [0.5] * 4))]
    assert all(re.search(r"\[\d+, \d+\] n=\d+", cell) for row in metrics[2:] for cell in row[2:])


def test_comparisons_with_the_first_method():
    compared = rows(report(grid(("gated", "full", "bm25"))), "Compared with gated")
    assert [row[:2] for row in compared[2:]] == [
        [method, length] for method in ("full", "bm25") for length in ("8k", "16k", "64k", "all")
    ]
    found = paired([-1, 0, 0, 0], [-1, 0, 0, 0])
    difference = f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    assert compared[2][2:] == [difference, "2", "8", "no"]
    assert "## Compared" not in report(grid(("gated",)))


def test_no_comparison_over_lengths_that_met_other_tasks():
    others = [one for one in grid(("gated", "full")) if (one.method, one.label, one.task) != ("full", "8k", "vt")]
    compared = rows(report(others), "Compared with gated")[2:]
    assert [(row[1], row[3]) for row in compared] == [("8k", "1"), ("16k", "2"), ("64k", "2")]


def test_a_difference_of_nothing_is_not_negative():
    text = report([outcome("gated", score=0.0), outcome("full", score=0.0)])
    assert rows(text, "Compared with gated")[2][2].startswith("+0.0 [")


def test_failures_are_counted_and_told():
    failing = [
        outcome(index=0, status="overflow", score=0.0, error="9000 tokens do not fit"),
        outcome(index=1, status="overflow", score=0.0, error="9001 tokens do not fit"),
        outcome(index=2, status="failed", score=0.0, error="a content filter"),
        outcome(index=3, status="partial", score=0.0),
    ]
    text = report([*failing, outcome("full")])
    assert rows(text, "What did not")[2:] == [["gated", "8k", "2", "1", "0", "1", "0"]]
    assert "gated, overflow (2): 9000 tokens do not fit" in text and "gated, failed (1): a content filter" in text
    assert shown(interval([0, 0, 0, 0])) in text
    assert "Every problem was answered." in report(grid())


def test_costs_and_their_growth():
    outcomes = grid(("gated",), ("vt",))
    cost = rows(report(outcomes, peaks(outcomes, growth=10_000)), "Cost")
    assert cost[2] == ["gated", "8k", "8.19", "8,292", "20", "3", "0", "1,082"]
    assert cost[5] == ["method", "seconds", "tokens", "peak memory", "lengths"]
    assert cost[7][:3] == ["gated", "1.00", "0.99"] and cost[7][4] == "3"
    assert "has no slope" in report(grid(("gated",), ("vt",), (8192,)))


def test_two_lengths_give_one_decimal():
    assert rows(report(grid(("gated",), ("vt",), (8192, 16384))), "Cost")[6][1] == "1.0"


def test_an_average_over_fewer_tasks_says_so():
    outcomes = [one for one in grid(("gated",)) if (one.task, one.label) != ("fwe", "64k")]
    assert "gated at 64k: the average of 1 of 2 tasks." in report(outcomes)
    assert "the average of" not in report(grid())


def test_an_unfinished_run_says_so():
    assert "- unfinished: 48 of 60 results; --resume goes on" in report(grid(), missing=12)
    assert "unfinished" not in report(grid())


def test_what_ran_with_which_settings():
    ran = {"gated": {"model": "m", "protocol": "gated", "temperature": 0.7, "exit": False, "seed": None, "other": 1}}
    settings = rows(report(grid(), ran=ran), "Settings")
    assert settings[0] == ["method", "model", "protocol", "exit", "temperature"]
    assert settings[2] == ["gated", "m", "gated", "false", "0.7"]


def test_models_with_their_adapters():
    models = (ModelOptions(), ModelOptions(model="local:x", adapter="runs/a"))
    assert "- models: local, local:x with runs/a" in report(grid(), recipe=Recipe(suite="ruler", models=models))


def test_the_pictures_and_how_readings_are_opened():
    text = report(grid())
    assert "](curve.png)" in text and "](cost.png)" in text and "memagent readings --journal readings show ID" in text


def test_nothing_becomes_markup():
    evil = f"a|b *c* `d` [e](http://f) {EVIL}"
    text = report([outcome("x|y"), outcome(index=1, task=evil, status="failed", error=evil, score=0.0)])
    assert "<script" not in text and "<img" not in text and "](http" not in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert any("x\\|y" in table[2] for table in tables)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


@pytest.mark.parametrize(
    ("text", "shows"), [("two\nlines", "two lines"), ("a|b", "a\\|b"), ("1 < 2 *", "1 &lt; 2 \\*"), ("é 中", "é 中")]
)
def test_plain(text, shows):
    assert plain(text) == shows
