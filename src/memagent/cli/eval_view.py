"""Shows an evaluation under way on stderr, and what came of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memagent.cli.memory_view import printable
from memagent.evaluation.folder import ResultFolder
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.progress import State
from memagent.evaluation.reporting.sections import percent
from memagent.evaluation.reporting.table import Table as Scores

REFRESH = 0.5  # seconds between two drawings on a terminal
FIRST_LINE, LAST_LINE = 5.0, 60.0  # seconds between two lines elsewhere, at the start and later


class EvalView:
    """A live table of scores with an ETA on a terminal; a line now and then elsewhere.

    `drawn` and `line` show a run that is no comparison of methods.
    """

    def __init__(
        self,
        console: Console,
        *,
        drawn: Callable[[State], RenderableType] | None = None,
        line: Callable[[State], str] | None = None,
    ) -> None:
        self._console = console
        self._drawn = drawn or _drawn
        self._line = line or _line
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown = -math.inf  # the clock may count from the machine's start, a moment ago
        self._pause = REFRESH if console.is_terminal else FIRST_LINE
        self.state: State | None = None

    def __enter__(self) -> EvalView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        style = "yellow" if line.startswith("note") else ""
        self._console.print(Text(printable(line), style=style), soft_wrap=True)

    def show(self, state: State) -> None:
        """Draw `state`, unless it was drawn a moment ago."""
        self.state = state
        if time.monotonic() - self._shown >= self._pause:
            self._draw(state)

    async def keep_shown(self) -> None:
        """Draw the state again and again, as one call may take minutes in which nothing else comes."""
        while True:
            await asyncio.sleep(REFRESH)
            if self.state is not None:
                self.show(self.state)

    def _draw(self, state: State) -> None:
        self._shown = time.monotonic()
        if self._console.is_terminal:
            self._live.update(self._drawn(state), refresh=True)
        else:
            self._console.print(self._line(state), soft_wrap=True)
            self._pause = min(LAST_LINE, self._pause * 1.5)


def _drawn(state: State) -> RenderableType:
    return Group(score_table(state.outcomes), share_bar(state), Text(_line(state)))


def share_bar(state: State) -> RenderableType:
    """How much is done, on a line of its own."""
    line = Table.grid()
    line.add_row(ProgressBar(total=1.0, completed=state.share, width=40))
    return line


def _line(state: State) -> str:
    done = f"{len(state.outcomes):,} of {state.total:,} results"
    return f"{printable(state.now)}: {done}, {share_line(state)}"


def share_line(state: State) -> str:
    """How much is done, and about how long the rest takes."""
    left = state.seconds_left
    return f"{state.share:.0%}" + ("" if left is None else f", about {duration(left)} left")


def duration(seconds: float) -> str:
    """40 s, 12 min, 3 h 5 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    if minutes < 90:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def score_table(outcomes: Sequence[Outcome]) -> Table:
    """Mean score in percent with its interval and count, a row a method and a column a length."""
    found = Scores.of(outcomes, ())
    table = Table("method", *(printable(length.label) for length in found.lengths), box=None, pad_edge=False)
    for method in found.methods:
        table.add_row(printable(method), *(percent(found.score(method, length)) for length in found.lengths))
    return table


def print_summary(console: Console, folder: ResultFolder) -> None:
    """The table of scores and where the rest is."""
    console.print(score_table(folder.outcomes))
    wrong = [outcome for outcome in folder.outcomes if outcome.error]
    if wrong:
        said = printable(f"{wrong[0].method}: {wrong[0].error}")
        console.print(f"{len(wrong)} results have no answer and count as wrong; the first: {said}", soft_wrap=True)
    report = folder.path / "report.html"
    console.print(f"report: {report}, and report.md, curve.png, cost.png beside it", soft_wrap=True)
