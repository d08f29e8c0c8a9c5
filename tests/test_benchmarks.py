"""What the benchmarks make of outcomes, and the case study's problems: no model is asked."""

import csv
import random
from pathlib import Path

import click
import pytest
from tests.evaluation.reporting.cases import outcome

from memagent.errors import OptionError


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """They are programs, and import each other by their bare names."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


def test_false_changes_count_no_tokens_of_readings_that_were_not_judged():
    from measuring import false_changes

    judged = outcome(false_changes=3, document_tokens=1_000_000)
    assert false_changes([judged, outcome(document_tokens=5_000_000)]) == 3
    assert false_changes([outcome(document_tokens=1_000)]) is None


@pytest.mark.parametrize("error", [OptionError("no"), click.BadParameter("no"), OSError("no")])
def test_bad_input_is_one_line_and_status_2(capsys, error):
    from measuring import plainly

    def main():
        raise error

    with pytest.raises(SystemExit, match="2"):
        plainly(main)
    assert capsys.readouterr().err.endswith(" no\n")


def test_facts_of_the_case_study_stand_in_order_in_their_text():
    from case_study import CASES, PARTS, names, text

    rng = random.Random(0)
    for make in CASES.values():
        _, _, facts, others = make(names(rng), rng)
        for size in (PARTS, PARTS + 3, 300):
            hay = [f"Straw {number}." for number in range(size)]
            made = text(facts, others, hay, rng)
            assert [made.count(one) for one in (*facts, *others, *hay)] == [1] * len([*facts, *others, *hay])
            assert sorted(facts, key=made.index) == facts
    with pytest.raises(OptionError, match="give more --tokens"):
        text(facts, others, hay[: PARTS - 1], rng)


@pytest.fixture
def results(tmp_path, monkeypatch):
    import results as module

    monkeypatch.setattr(module, "KEPT", tmp_path / "results.csv")
    monkeypatch.setattr(module, "RUNS", tmp_path)
    monkeypatch.setattr(module, "models", lambda: {"reader": "new"})
    return module


def test_results_are_those_of_the_weights_as_they_are(results):
    def line(model, method, score):
        found = outcome(index=int(10 * score), score=score, document_tokens=900, false_changes=None)
        return results._line(found, {"model": model, "method": method, "task": "vt", "label": "8k"})

    lines = [
        line("old", "reader", 0.1), line("new", "reader", 0.2), line("x", "no method any more", 0.3),
        line("first", "warm start only", 0.4), line("last", "warm start only", 0.5),
    ]  # fmt: skip
    with results.KEPT.open("w", newline="") as file:
        writer = csv.DictWriter(file, results.FIELDS)
        writer.writeheader()
        writer.writerows(lines)
    assert [(one.method, one.score) for one in results.outcomes()] == [("reader", 0.2), ("warm start only", 0.5)]


def test_a_cell_that_is_measured_again_takes_its_own_place(results):
    class Again:
        name, model = "reader", "new"

    for score in (0.2, 0.7):
        results.keep(Again(), "vt", "8k", [outcome(index=1, score=score)])
        results.keep(Again(), "vt", "64k", [outcome(index=1, score=1.0)])
    assert [(one["label"], one["score"]) for one in results.kept()] == [("8k", "0.7"), ("64k", "1.0")]
