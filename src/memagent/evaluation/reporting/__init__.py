"""An evaluation's results as text, pictures and a page. It does not know how they came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memagent.atomic import write_whole
from memagent.evaluation.outcome import Outcome, Peak
from memagent.evaluation.recipe import Recipe
from memagent.evaluation.reporting.figures import draw_cost, draw_curve
from memagent.evaluation.reporting.markdown import markdown
from memagent.evaluation.reporting.page import write_page
from memagent.evaluation.reporting.sections import about, sections
from memagent.evaluation.reporting.table import Table

__all__ = ["write_report"]


def write_report(
    folder: Path,
    *,
    outcomes: Sequence[Outcome],
    peaks: Sequence[Peak],
    recipe: Recipe,
    missing: int,
    turns: Callable[[str], list[dict[str, Any]]],
    settings: Callable[[str], Mapping[str, Any]],
) -> None:
    """Write report.md, curve.png, cost.png and report.html into `folder`; there must be an outcome.

    `missing` counts the results that a run which stopped did not come to. `turns` and `settings` give what the
    journal has of a reading by its id.

    Raises:
        SetupError: matplotlib or jinja2 is not installed.
    """
    table = Table.of(outcomes, peaks)
    draw_curve(table, folder / "curve.png")
    draw_cost(table, folder / "cost.png")
    title, lines = f"Evaluation: {recipe.suite}", about(recipe, table, missing)
    found = sections(table, {method: settings(reading) for method, reading in _first_readings(outcomes).items()})
    write_whole(folder / "report.md", markdown(title, lines, found))
    write_page(folder, title, lines, found, outcomes=outcomes, recipe=recipe.text(), turns=turns)


def _first_readings(outcomes: Sequence[Outcome]) -> dict[str, str]:
    found: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.reading_id:
            found.setdefault(outcome.method, outcome.reading_id)
    return found
