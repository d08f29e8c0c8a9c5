"""What the cells of all tables and figures hold."""

import statistics

import pytest
from tests.evaluation.reporting.cases import grid, outcome

from memagent.evaluation.outcome import Peak
from memagent.evaluation.reporting.costs import curves, slopes
from memagent.evaluation.reporting.table import Length, Table
from memagent.evaluation.statistics import interval, paired

K8, K16 = Length(8192, "8k"), Length(16384, "16k")


def scored(task, found, method="gated", **changes):
    return [outcome(method, task, index=index, score=score, **changes) for index, score in enumerate(found)]


def test_names_and_lengths_in_order():
    table = Table.of([*grid(("full", "gated"), ("vt", "fwe"), (65536, 8192))], [])
    assert table.methods == ("full", "gated") and table.tasks == ("fwe", "vt")
    assert [length.label for length in table.lengths] == ["8k", "64k"]
    assert table.metrics == ("ruler_all", "em")


def test_the_average_is_the_mean_of_the_tasks_means():
    even = Table.of(scored("vt", [1, 1, 0, 1]) + scored("fwe", [0, 0, 0, 1]), [])
    assert even.score("gated", K8).mean == statistics.mean([0.75, 0.25])
    assert even.score("gated", K8).mean == statistics.mean([1, 1, 0, 1, 0, 0, 0, 1])
    uneven = Table.of(scored("vt", [1, 1, 0, 1]) + scored("fwe", [0, 0]), [])
    assert uneven.score("gated", K8).mean == statistics.mean([0.75, 0.0])
    assert uneven.score("gated", K8).count == 6
    assert uneven.score("gated", K8, "vt") == interval([1, 1, 0, 1])


def test_a_metric_that_some_tasks_lack():
    table = Table.of(scored("vt", [1, 0], scores={"f1": 0.5}) + scored("fwe", [1]), [])
    assert table.score("gated", K8, None, "f1") == interval([0.5, 0.5])
    assert table.score("gated", K8, "fwe", "f1") is None and table.score("gated", K16) is None


def test_only_problems_that_both_met_are_compared():
    table = Table.of(scored("vt", [1, 1, 0, 0]) + scored("vt", [0, 1], method="full"), [])
    assert table.compare("full", "gated", K8) == paired([-1, 0])
    assert table.compare("full", "gated", K16) is None


def test_each_task_counts_the_same_in_a_comparison():
    first = scored("vt", [1, 1, 1, 1]) + scored("fwe", [1])
    second = scored("vt", [0, 0, 0, 0], method="full") + scored("fwe", [1], method="full")
    found = Table.of([*first, *second], []).compare("gated", "full")
    assert found.mean == 0.5 and found.count == 5


def test_a_question_at_several_lengths_is_one_problem():
    outcomes = [
        outcome(method, length=length, index=index, score=float(method == "gated" and index != 1))
        for method in ("gated", "full")
        for length in (8192, 16384)
        for index in range(3)
    ]
    table = Table.of(outcomes, [])
    assert table.compare("gated", "full") == paired([1, 0, 1])
    others = [outcome(one.method, length=one.length, index=one.index, score=one.score, question=f"{one.length}")
              for one in outcomes]  # fmt: skip
    assert Table.of(others, []).compare("gated", "full").count == 6


def test_medians_leave_out_what_took_no_work():
    outcomes = [outcome(index=0, seconds=1.0), outcome(index=1, seconds=3.0),
                outcome(index=2, seconds=0.0, status="overflow"), outcome(index=3, seconds=8.0)]  # fmt: skip
    assert Table.of(outcomes, []).median("gated", K8, lambda one: one.seconds) == 3.0
    over = Table.of([outcome(status="overflow")], [])
    assert over.median("gated", K8, lambda one: one.seconds) is None and not over.has_answers("gated", K8)


def test_slopes_of_seconds_tokens_and_memory():
    outcomes = [
        outcome(length=length, seconds=length**2 / 1e6, prompt_tokens=length - 20) for length in (8192, 16384, 65536)
    ]
    peaks = [Peak(method="gated", length=length, resident=length * 1000) for length in (8192, 16384, 65536)]
    found = slopes(Table.of(outcomes, peaks))
    exponents = [round(found[name]["gated"].exponent, 6) for name in ("seconds", "tokens", "peak memory")]
    assert exponents == [2.0, 1.0, 1.0] and found["seconds"]["gated"].lengths == 3
    assert slopes(Table.of(outcomes[:1], peaks))["seconds"] == {}


def test_memory_is_the_gpus_where_one_is_used():
    used = [Peak(method="gated", length=8192, resident=5_000_000, gpu=9_000_000)]
    assert curves(Table.of([outcome()], used))["GPU memory"]("gated", K8) == 9.0
    none = [Peak(method="gated", length=8192, resident=5_000_000)]
    assert curves(Table.of([outcome()], none))["peak memory"]("gated", K8) == 5.0


def test_memory_where_nothing_was_worked_on_is_left_out():
    table = Table.of([outcome(status="overflow")], [Peak(method="gated", length=8192, resident=5_000_000)])
    assert curves(table)["peak memory"]("gated", K8) is None


@pytest.mark.parametrize("count", [20_000])
def test_large_tables_are_quick(count):
    import time

    outcomes = [outcome(f"m{at % 5}", f"t{at % 13}", 8192 * 2 ** (at % 7), at) for at in range(count)]
    began = time.perf_counter()
    table = Table.of(outcomes, [])
    for method in table.methods:
        for length in table.lengths:
            for task in table.tasks:
                table.score(method, length, task)
    assert time.perf_counter() - began < 2
