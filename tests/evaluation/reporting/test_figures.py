"""The pictures can be opened, show every method, and stay readable in odd cases."""

import itertools

import numpy
import pytest
from matplotlib import image
from matplotlib.colors import to_rgb
from tests.evaluation.reporting.cases import grid, outcome, peaks

from memagent.evaluation.reporting.figures import COLOURS, draw_cost, draw_curve
from memagent.evaluation.reporting.table import Table

METHODS = ("gated", "paper", "full", "full+yarn", "truncated", "no-context", "bm25", "map-reduce", "x", "y", "z")


def table(*given, **more):
    outcomes = grid(*given, **more)
    return Table.of(outcomes, peaks(outcomes))


@pytest.fixture
def drawn(figures, tmp_path):
    """Draws and gives the figure itself; the picture lies in tmp_path."""

    def draw(how, found):
        how(found, tmp_path / "x.png")
        return figures[-1]

    return draw


def pixels(path):
    found = image.imread(path)
    assert found.ndim == 3 and min(found.shape[:2]) > 300
    return found[:, :, :3]


def has_colour(picture, colour):
    return int((numpy.abs(picture - to_rgb(colour)).max(axis=2) < 0.03).sum())


def visible(figure):
    return [axis for axis in figure.axes if axis.axison and axis.get_visible()]


@pytest.mark.parametrize("draw", [draw_curve, draw_cost])
def test_pictures_open_and_hold_a_line_a_method(draw, tmp_path):
    draw(table(METHODS[:4]), tmp_path / "four.png")
    draw(table(METHODS[:3]), tmp_path / "three.png")
    four, three = pixels(tmp_path / "four.png"), pixels(tmp_path / "three.png")
    assert all(has_colour(four, colour) > 100 for colour in COLOURS[:4])
    assert has_colour(three, COLOURS[2]) > 100 and has_colour(three, COLOURS[3]) < 10


def test_an_average_and_a_panel_for_each_task(drawn):
    figure = drawn(draw_curve, table(("gated", "full"), ("vt", "fwe", "cwe", "qa_1", "qa_2"), (8192, 16384)))
    titles = [axis.get_title() for axis in visible(figure)]
    assert titles[0] == "average of 5 tasks (n = 20)"
    assert titles[1:] == [f"{task} (n = 4)" for task in ("cwe", "fwe", "qa_1", "qa_2", "vt")]
    one = drawn(draw_curve, table(("gated",), ("vt",)))
    assert [axis.get_title() for axis in visible(one)] == ["vt (n = 4)"]


def test_an_average_of_some_tasks_alone_is_hollow_and_beside_the_line(drawn):
    outcomes = grid(("gated",), ("vt", "fwe"), (8192, 16384)) + grid(("gated",), ("vt",), (32768,))
    axis = drawn(draw_curve, Table.of(outcomes, [])).axes[0]
    assert axis.get_title() == "average of 2 tasks; hollow: of some of them (n = 4 to 8)"
    line, hollow = (bars.lines[0] for bars in axis.containers)
    assert list(map(round, line.get_xdata())) == [8192, 16384] and line.get_markerfacecolor() != "white"
    assert list(map(round, hollow.get_xdata())) == [32768] and hollow.get_markerfacecolor() == "white"
    assert hollow.get_linestyle() == "None"


def test_lengths_are_logarithmic_and_scores_percent(drawn):
    axis = drawn(draw_curve, table(("gated", "full"), ("vt",))).axes[0]
    assert axis.get_xscale() == "log" and [label.get_text() for label in axis.get_xticklabels()] == ["8k", "16k", "64k"]
    low, high = axis.get_ylim()
    assert low < 0 and 100 < high < 110
    heights = [container[0].get_ydata().tolist() for container in axis.containers]
    assert heights == [[100.0] * 3, [75.0] * 3]


def test_methods_stand_beside_each_other_and_not_among_the_next_length(drawn):
    axis = drawn(draw_curve, table(METHODS, ("vt",), (8192, 10000))).axes[0]
    places = [container[0].get_xdata().tolist() for container in axis.containers]
    first, second = zip(*places, strict=True)
    assert len(set(first)) == len(METHODS) and max(first) < min(second)


def test_the_legend_names_every_method(drawn):
    over = [outcome("full", status="overflow", score=0.0), outcome("gated")]
    for draw in (draw_curve, draw_cost):
        names = [text.get_text() for text in drawn(draw, Table.of(over, peaks(over))).legends[0].get_texts()]
        assert names == ["full", "gated"]


def test_fitted_slopes_stand_in_the_picture_and_do_not_overlap(drawn):
    figure = drawn(draw_cost, table(METHODS, ("vt",)))
    assert [axis.get_yscale() for axis in figure.axes] == ["log"] * 3
    for axis in figure.axes:
        assert len(axis.texts) == len(METHODS) and all(text.get_text().startswith("b = ") for text in axis.texts)
        places = sorted(text.xy[1] for text in axis.texts)
        assert all(above - below > 0.04 for below, above in itertools.pairwise(places))
        assert places[0] > -0.05 and places[-1] <= 1.0
    assert figure.axes[0].texts[0].get_text() == "b = 1.00"


def test_one_length_has_no_slope(drawn):
    figure = drawn(draw_cost, table(("gated", "full"), ("vt",), (8192,)))
    assert not any(axis.texts for axis in figure.axes) and "∝" not in figure.axes[0].get_title()


def test_values_are_written_out(drawn):
    axis = drawn(draw_cost, table(("gated",), ("vt",))).axes[1]
    shown = [label.get_text() for label, at in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)
             if axis.get_ylim()[0] <= at <= axis.get_ylim()[1]]  # fmt: skip
    assert len(shown) >= 2 and set(shown) <= {"5k", "10k", "20k", "50k", "100k"}


def test_many_lengths_do_not_crowd_the_axis(drawn):
    lengths = tuple(range(4000, 4400, 10))
    figure = drawn(draw_curve, Table.of(grid(("gated",), ("vt",), lengths, count=1), []))
    assert len(figure.axes[0].get_xticks()) <= 10


def test_documents_are_named(drawn):
    outcomes = [outcome(length=count, label=f"{count} documents") for count in (50, 100)]
    axis = drawn(draw_curve, Table.of(outcomes, [])).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["50", "100"]
    assert axis.get_xlabel() == "documents"


@pytest.mark.parametrize("draw", [draw_curve, draw_cost])
def test_names_of_any_kind(draw, tmp_path):
    names = ("a" * 300, "cost $x_1 and $y^", "模型 _ \n\ud800")
    outcomes = [outcome(name, name, length) for name in names for length in (8192, 16384)]
    draw(Table.of(outcomes, peaks(outcomes)), tmp_path / "x.png")
    assert all(has_colour(pixels(tmp_path / "x.png"), colour) > 30 for colour in COLOURS[:3])


@pytest.mark.parametrize("draw", [draw_curve, draw_cost])
def test_nothing_answered(draw, tmp_path):
    draw(Table.of([outcome(status="failed", score=0.0)], []), tmp_path / "x.png")
    pixels(tmp_path / "x.png")


def test_pictures_say_nothing_of_when_they_were_made(tmp_path):
    for name in ("a.png", "b.png"):
        draw_curve(table(("gated",), ("vt",)), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
