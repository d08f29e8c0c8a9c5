"""What is shown while an evaluation runs."""

import asyncio
import io

import pytest
from rich.console import Console
from tests.evaluation.reporting.cases import grid, outcome

from memagent.cli.eval_view import EvalView, duration, score_table
from memagent.evaluation.progress import State
from memagent.evaluation.statistics import interval


def console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)


def test_a_terminal_shows_scores_a_bar_and_the_time_that_is_left():
    screen = console(terminal=True)
    state = State(total=48, weight=100.0, weight_done=25.0, now="gated · 8k", began=-1e9, outcomes=grid())
    with EvalView(screen) as view:
        view.show(state)
    lines = [line.rstrip() for line in screen.file.getvalue().splitlines()]
    found = interval([0, 1, 1, 1], [0, 1, 1, 1])
    assert any(line.startswith("full") and f"75.0 [{100 * found.low:.0f}, " in line for line in lines)
    assert any(line.startswith("━") for line in lines)
    assert any(line.startswith("gated · 8k: 48 of 48 results, 25%, about ") for line in lines)


def test_elsewhere_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr("memagent.cli.eval_view.FIRST_LINE", 1000.0)
    output = console(terminal=False)
    with EvalView(output) as view:
        for _ in range(100):
            view.show(State(total=2, weight=2.0, now="gated · 8k"))
    assert output.file.getvalue() == "gated · 8k: 0 of 2 results, 0%\n"


async def test_a_long_call_does_not_look_like_a_standstill(monkeypatch):
    monkeypatch.setattr("memagent.cli.eval_view.REFRESH", 0.001)
    monkeypatch.setattr("memagent.cli.eval_view.FIRST_LINE", 0.001)
    output = console(terminal=False)
    with EvalView(output) as view:
        task = asyncio.ensure_future(view.keep_shown())
        view.show(State(total=1, weight=1.0, now="full · 512k"))
        await asyncio.sleep(0.05)
        task.cancel()
    assert output.file.getvalue().count("full · 512k") > 2


def test_nothing_of_a_name_steers_the_terminal():
    screen = console(terminal=True)
    screen.print(score_table([outcome("\x1b[31mred", label="\x1b]0;x\x07")]))
    with EvalView(screen) as view:
        view.say("note: \x1b[2J")
        view.show(State(now="\x1b[31mred", weight=1.0))
    text = screen.file.getvalue()
    assert "\x1b[31m" not in text and "\x1b]0" not in text and "\x1b[2J" not in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (3 * 3600 + 300, "3 h 5 min"), (200_000, "2 d 8 h")],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown
