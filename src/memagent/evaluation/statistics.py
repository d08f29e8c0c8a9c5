"""Means with 95% intervals, paired differences, and how costs grow with length. Pure functions.

Means over several groups (RULER's tasks) count each group the same, however many values it has. Their
intervals take Kish's effective number of values, g² / Σ 1/nᵢ for g groups of nᵢ, in the place of the count; where
the groups are of one size that is the count, and all is as if they were pooled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Z = 1.959963984540054  # the normal distribution's 97.5% point


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of `count` values with its 95% interval."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low > 0 or self.high < 0


def interval(*groups: Sequence[float]) -> Estimate:
    """The mean of the groups' means of scores in [0, 1], with Wilson's interval (1927).

    The mean stands for the proportion. Scores between 0 and 1 vary less than right-or-wrong ones of the same
    mean (their variance is at most mean · (1 − mean)), so for them it is wider than it need be, and so it is where
    groups differ in difficulty. All right or all wrong still has a width.

    Raises:
        ValueError: there is no group, or one without a score.
    """
    mean, count = _mean(groups), _effective(groups)
    shrunk = (mean + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(mean * (1 - mean) / count + Z**2 / (4 * count**2))
    low, high = max(0.0, min(mean, shrunk - half)), min(1.0, max(mean, shrunk + half))
    return Estimate(mean, low, high, sum(map(len, groups)))


def paired(*groups: Sequence[float]) -> Estimate:
    """The mean of the groups' mean differences on the same problems, with Bonett and Price's interval (2012).

    One problem that only the first method has right and one that only the second has right are added, so that the
    interval has a width where the two always agree. For right-or-wrong scores it is theirs; for others it is the same
    formula on differences in [−1, 1].

    Raises:
        ValueError: there is no group, or one without a difference.
    """
    mean, count = _mean(groups), _effective(groups)
    centre = mean * count / (count + 2)
    squares = _mean(groups, lambda difference: difference**2)
    spread = (squares * count + 2) / (count + 2) - centre**2
    half = Z * math.sqrt(max(0.0, spread) / (count + 2))
    low, high = max(-1.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))
    return Estimate(mean, low, high, sum(map(len, groups)))


def slope(lengths: Sequence[float], values: Sequence[float]) -> float | None:
    """The exponent b of values ∝ length^b by least squares of the logarithms: 1 is linear, 0 is constant.

    None where there are fewer than two lengths, or a value is not above 0.
    """
    if len(set(lengths)) < 2 or min(values, default=0) <= 0 or min(lengths) <= 0:
        return None
    xs, ys = [math.log(length) for length in lengths], [math.log(value) for value in values]
    x_mean, y_mean = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    return math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / math.fsum(
        (x - x_mean) ** 2 for x in xs
    )


def _mean(groups: Sequence[Sequence[float]], of: Callable[[float], float] = float) -> float:
    if not groups or not all(groups):
        raise ValueError("a mean of nothing")
    return math.fsum(math.fsum(map(of, group)) / len(group) for group in groups) / len(groups)


def _effective(groups: Sequence[Sequence[float]]) -> float:
    return len(groups) ** 2 / math.fsum(1 / len(group) for group in groups)
