"""Shows a training run on stderr: a live table on a terminal, a line a step elsewhere."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memagent.cli.eval_view import duration
from memagent.cli.memory_view import printable
from memagent.training.metrics import StepMetrics, ValidationMetrics
from memagent.training.progress import State

ROWS = 8  # steps in the table
# What is shown of a step: its name, the field, and how it is written. What a step has not is left out.
FIGURES = (
    ("reward", "reward", "{:.3f}"),
    ("spread", "spread", "{:.3f}"),
    ("KL", "kl", "{:.4f}"),
    ("clip", "clip_fraction", "{:.2%}"),
    ("keeps", "keep_rate", "{:.0%}"),
    ("false/1M", "false_changes", "{:,.0f}"),
    ("memory", "memory_tokens", "{:,.0f}"),
    ("sampled/s", "sampler_speed", "{:,.0f}"),
    ("learnt/s", "learner_speed", "{:,.0f}"),
    ("took", "seconds", "{:,.1f} s"),
)
# Of a warm start, which has no rewards, instead of them.
SUPERVISED = (("loss", "loss", "{:.4f}"), ("gradient", "grad_norm", "{:.3f}"))


class TrainView:
    """`show` takes in the state of a run, `say` a line that stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: State | None = None
        self._steps: deque[StepMetrics] = deque(maxlen=ROWS)
        self._live = Live(console=console, refresh_per_second=2, transient=True, get_renderable=self._render)

    def __enter__(self) -> TrainView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(Text(printable(line), style="yellow" if line.startswith("note") else ""), soft_wrap=True)

    def show(self, state: State) -> None:
        """Take in a state; elsewhere than on a terminal, a step or a validation that is new is a line."""
        before, self._state = self._state, state
        news = []
        if state.step is not None and (not self._steps or state.step.step != self._steps[-1].step):
            self._steps.append(state.step)
            news.append(_step_line(state.step, state))
        if state.last is not None and (before is None or state.last != before.last):
            news.append(_validation_line(state))
        for line in news if not self._console.is_terminal else ():
            self.say(line)

    def _render(self) -> RenderableType:
        state = self._state
        if state is None:
            return Text("loading")
        parts: list[RenderableType] = [_table(self._steps)] if self._steps else []
        if state.last is not None:
            parts.append(Text(_validation_line(state), style="cyan"))
        done = (state.steps_done + state.share) / max(1, state.steps)
        bar = ProgressBar(total=1.0, completed=min(1.0, done), width=40)
        return Group(*parts, bar, Text(f"\n{_now_line(state)}"))


def figures(step: StepMetrics) -> dict[str, str]:
    """What is shown of a step, by name."""
    wanted = FIGURES if step.reward is not None else (*SUPERVISED, *FIGURES)
    known = [(name, getattr(step, field), form) for name, field, form in wanted]
    found = {name: form.format(value) for name, value, form in known if value is not None}
    return {**found, "skipped": str(step.skipped)} if step.skipped else found


def _table(steps: deque[StepMetrics]) -> Table:
    rows = [figures(step) for step in steps]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table("step", *names, box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    for column in table.columns:
        column.justify = "right"
    for step, row in zip(steps, rows, strict=True):
        table.add_row(str(step.step + 1), *(row.get(name, "") for name in names))
    return table


def _step_line(step: StepMetrics, state: State) -> str:
    told = ", ".join(f"{name} {text}" for name, text in figures(step).items())
    return f"step {step.step + 1} of {state.steps}: {told}{_left(state)}"


def _now_line(state: State) -> str:
    share = f" {state.share:.0%}" if state.share else ""
    return f"{state.now}{share}; {state.steps_done} of {state.steps} steps done{_left(state)}"


def _left(state: State) -> str:
    return f"; about {duration(state.seconds_left)} left" if state.seconds_left else ""


def _validation_line(state: State) -> str:
    last, first = state.last, state.first
    assert last is not None
    start = f"; {100 * first.mean:.1f}% at the start" if first is not None and first.step != last.step else ""
    return f"validation after {last.step} steps: {_score(last)}, keeps {last.keep_rate:.0%}{start}"


def _score(found: ValidationMetrics) -> str:
    return f"{100 * found.mean:.1f}% [{100 * found.low:.1f}, {100 * found.high:.1f}]"
