"""Intervals and slopes beside computations of another kind: root finding, simulation, worked examples, numpy."""

import random

import numpy
import pytest

from memagent.evaluation.statistics import Z, interval, paired, slope


def shares(right, count):
    return [1.0] * right + [0.0] * (count - right)


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 16), (7, 16), (16, 16), (97, 128), (1, 3000)])
def test_wilson_solves_its_equation(right, count):
    # Its bounds are those p for which |p − mean| is Z standard errors at p: (p − m)² = Z² p (1 − p) / n.
    mean = right / count
    roots = sorted(numpy.roots([1 + Z**2 / count, -(2 * mean + Z**2 / count), mean**2]).real)
    found = interval(shares(right, count))
    assert (found.mean, found.count) == (mean, count)
    assert [found.low, found.high] == pytest.approx([max(0.0, roots[0]), min(1.0, roots[1])], abs=1e-9)


@pytest.mark.parametrize(("truth", "count"), [(0.5, 16), (0.9, 16), (0.97, 64), (0.2, 128)])
def test_wilson_covers_the_truth(truth, count):
    draw = numpy.random.default_rng(1)
    intervals = [interval(shares(int(right), count)) for right in draw.binomial(count, truth, 2000)]
    covered = numpy.mean([found.low <= truth <= found.high for found in intervals])
    assert 0.92 < covered < 0.99


def test_partial_scores_are_covered_more_often_than_needed():
    draw = numpy.random.default_rng(2)
    intervals = [interval(list(draw.beta(2, 1, 24))) for _ in range(1000)]
    assert numpy.mean([found.low <= 2 / 3 <= found.high for found in intervals]) > 0.99


def test_groups_of_one_size_are_as_if_pooled():
    groups = [shares(3, 4), shares(0, 4), shares(4, 4)]
    alone, pooled = interval(*groups), interval([score for group in groups for score in group])
    assert [alone.mean, alone.low, alone.high] == pytest.approx([pooled.mean, pooled.low, pooled.high])
    assert alone.count == pooled.count == 12


def test_groups_of_different_sizes_count_the_same():
    found = interval(shares(100, 100), shares(0, 4))
    assert found.mean == 0.5 and found.count == 104
    # Four problems decide a half of the mean, so a hundred others do not make it sure.
    assert found.high - found.low > 0.4


@pytest.mark.parametrize(
    ("truths", "counts"),
    [
        ([0.1, 0.2, 0.5, 0.9, 0.95, 0.99, 1.0, 1.0, 1.0, 0.8, 0.7, 0.6, 0.3], [4] * 13),
        ([0.3, 0.5, 0.9], [2] * 3),
        ([0.2, 0.9, 0.97], [5, 20, 128]),
        ([0.5] * 5, [2, 50, 50, 50, 50]),
    ],
)
def test_the_average_of_tasks_covers_the_truth(truths, counts):
    draw = numpy.random.default_rng(3)
    mean, hits = numpy.mean(truths), 0
    for _ in range(1000):
        groups = [shares(int(draw.binomial(n, p)), n) for p, n in zip(truths, counts, strict=True)]
        found = interval(*groups)
        hits += found.low <= mean <= found.high
    assert hits / 1000 > 0.93


def test_bonett_and_price_by_hand():
    # 2×2 table of 20 problems: both right 5, only the first 9, only the second 2, none 4.
    first = [1.0] * 5 + [1.0] * 9 + [0.0] * 2 + [0.0] * 4
    second = [1.0] * 5 + [0.0] * 9 + [1.0] * 2 + [0.0] * 4
    p12, p21 = (9 + 1) / 22, (2 + 1) / 22
    half = 1.959964 * ((p12 + p21 - (p12 - p21) ** 2) / 22) ** 0.5
    found = paired([a - b for a, b in zip(first, second, strict=True)])
    assert found.mean == pytest.approx(7 / 20) and found.count == 20
    assert [found.low, found.high] == pytest.approx([p12 - p21 - half, p12 - p21 + half], abs=1e-6)
    assert found.excludes_zero


def test_bonett_and_price_on_a_known_table():
    # Airway hyper-responsiveness of 21 children before and after a treatment (Bentur et al., 2009): 1, 1, 7, 12.
    found = paired([0.0] * 1 + [1.0] * 1 + [-1.0] * 7 + [0.0] * 12)
    assert [found.mean, found.low, found.high] == pytest.approx([-0.286, -0.508, -0.013], abs=5e-4)


def test_two_that_always_agree_still_have_a_width():
    found = paired([0.0] * 10)
    assert found.mean == 0 and found.low == pytest.approx(-found.high) and 0.2 < found.high < 0.35
    assert not found.excludes_zero


def test_a_paired_interval_covers_the_true_difference():
    draw, truth, hits = random.Random(4), 0.15, 0
    for _ in range(1000):
        # Two methods whose errors go together: the second fails where the first does, and elsewhere now and then.
        pairs = [(draw.random() < 0.8, draw.random() < 0.65 / 0.8) for _ in range(40)]
        found = paired([float(a) - float(a and b) for a, b in pairs])
        hits += found.low <= truth <= found.high
    assert 0.92 < hits / 1000 < 0.99


def test_paired_is_narrower_than_two_intervals_where_errors_go_together():
    draw = random.Random(5)
    first = [float(draw.random() < 0.6) for _ in range(100)]
    second = [score if at % 20 else 0.0 for at, score in enumerate(first)]
    found = paired([a - b for a, b in zip(first, second, strict=True)])
    assert found.high - found.low < 0.5 * (interval(first).high - interval(first).low)


def test_paired_groups_count_the_same():
    found = paired([1.0] * 50, [0.0] * 2)
    assert found.mean == 0.5 and found.count == 52
    same = paired([1.0, 0.0], [0.0, 0.0]), paired([1.0, 0.0, 0.0, 0.0])
    assert [same[0].low, same[0].high] == pytest.approx([same[1].low, same[1].high])


@pytest.mark.parametrize("of", [interval, paired])
@pytest.mark.parametrize("groups", [(), ([],), ([1.0], [])])
def test_a_mean_of_nothing(of, groups):
    with pytest.raises(ValueError, match="nothing"):
        of(*groups)


def test_the_slope_is_numpys():
    draw = numpy.random.default_rng(6)
    lengths = [8192, 16384, 32768, 65536, 131072]
    values = [0.003 * length**1.2 * float(draw.lognormal(0, 0.2)) for length in lengths]
    expected = numpy.polyfit(numpy.log(lengths), numpy.log(values), 1)[0]
    assert slope(lengths, values) == pytest.approx(expected)
    assert slope(lengths, [5.0] * 5) == 0 and slope([1, 10, 100], [2, 20, 200]) == pytest.approx(1)


@pytest.mark.parametrize(("lengths", "values"), [([8], [1.0]), ([8, 8], [1.0, 2.0]), ([8, 16], [0.0, 1.0]), ([], [])])
def test_no_slope(lengths, values):
    assert slope(lengths, values) is None
