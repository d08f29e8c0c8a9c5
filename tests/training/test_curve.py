"""The picture shows what there is of a run, long or short; the line is the paired interval."""

import math
from dataclasses import replace

import pytest
from matplotlib import image
from tests.training.records import run, step, supervised, validation

from memagent.training.curve import draw_run, paired_line


@pytest.fixture
def drawn(figures, tmp_path):
    """Draws and gives the figure's panels by title, each with the axes that share it."""

    def draw(records):
        draw_run(records, tmp_path / "curve.png")
        assert image.imread(tmp_path / "curve.png").std() > 0.05
        axes = figures[-1].axes
        return {
            axis.get_title(): [one for one in axes if one.bbox.bounds == axis.bbox.bounds]
            for axis in axes
            if axis.get_title()
        }

    return draw


def lines(axes):
    """All lines of a panel by label, or by the label of their axis."""
    found = {}
    for axis in axes:
        for line in axis.lines:
            found[line.get_label()] = [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]
    return found


@pytest.mark.parametrize("steps", [1, 3, 40, 400])
def test_a_run_of_any_length(drawn, steps):
    panels = drawn(run(steps))
    assert list(panels) == [
        "reward and validation score", "drift from the start, and clipping", "the gate", "the memory at the end",
    ]  # fmt: skip
    score = lines(panels["reward and validation score"])
    assert score["validation score, 95% band"] == [(one.step, one.mean) for one in run(steps) if hasattr(one, "mean")]
    assert {y for _, y in score["its value at the start"]} == {0.3}
    assert [x for x, _ in score["reward"]] == list(range(1, steps + 1))


def test_a_short_run_is_drawn_as_it_is_and_a_long_one_smoothed(drawn):
    for steps, smooth in ((40, False), (400, True)):
        reward = [y for _, y in lines(drawn(run(steps))["reward and validation score"])["reward"]]
        plain = [step(number).reward for number in range(steps)]
        spans = [max(values) - min(values) for values in (reward, plain)]
        assert (reward != plain) is smooth
        assert (spans[0] < spans[1] / 2) is smooth
        assert math.fsum(reward) / steps == pytest.approx(math.fsum(plain) / steps, rel=0.01)


def test_what_was_not_measured_is_left_out(drawn):
    records = run(40, made=lambda number: step(number, kl=None, reward=None if number % 2 else 0.5, memory_tokens=None))
    panels = drawn(records)
    assert "the memory at the end" not in panels
    assert list(lines(panels["drift from the start, and clipping"])) == ["clipped tokens, %"]
    assert len(panels["drift from the start, and clipping"]) == 1
    assert [x for x, _ in lines(panels["reward and validation score"])["reward"]] == list(range(1, 41, 2))


def test_what_is_not_finite_leaves_a_gap(drawn):
    drawn(run(100, made=lambda number: step(number, kl=math.nan if 20 < number < 60 else 0.1)))


def test_a_warm_start_has_a_loss_and_a_validation(drawn):
    panels = drawn(run(30, made=supervised))
    assert list(panels) == ["loss", "validation score"]
    assert lines(panels["loss"])["loss"] == [(number + 1, supervised(number).loss) for number in range(30)]


def test_only_a_validation(drawn):
    assert list(drawn([validation(0)])) == ["reward and validation score"]


def test_a_run_without_a_record_has_no_picture(tmp_path):
    draw_run([], tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_the_paired_interval_in_a_line():
    """Bonett and Price's (2012) with the counts written out: 20 rose, 4 fell, of 128."""
    first = validation(0, right=44, count=128)
    last = replace(validation(9, right=60, count=128), scores=(0.0,) * 4 + (1.0,) * 60 + (0.0,) * 64)
    rose, fell = (20 + 1) / 130, (4 + 1) / 130
    half = 1.959963984540054 * math.sqrt((rose + fell - (rose - fell) ** 2) / 130)
    low, high = 100 * (rose - fell - half), 100 * (rose - fell + half)
    expected = f"validation rose by +12.5 points [{low:+.1f}, {high:+.1f}] on 128 problems (95%, paired)"
    assert paired_line(first, last) == expected
    assert paired_line(last, first).startswith("validation fell by -12.5 points [")


def test_what_may_be_chance_has_no_direction():
    assert paired_line(validation(0), validation(5, right=4)).startswith("validation changed by +10.0 points [-")


def test_other_problems_cannot_be_compared():
    with pytest.raises(ValueError, match="different problems"):
        paired_line(validation(0), validation(5, count=11))
