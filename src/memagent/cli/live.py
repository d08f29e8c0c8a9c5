"""Shows a reading under way on stderr: a live panel on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from memagent.cli.memory_view import last_lines, printable, shown_memory
from memagent.reading.run import Progress, Run

MARKS = {"keep": "·", "add": "+", "write": "▪", "done": "■", "malformed": "?", "empty": "∅", "failed": "✗"}
STYLES = {"keep": "dim", "add": "green", "write": "cyan", "done": "bold", "failed": "bold red"}
PLAIN_SECONDS = 5.0
FRAME = 6  # lines of a panel beside its memory


class LiveView:
    """A context manager whose `show` is the reader's `on_progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runs: dict[str, _RunView] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._render)
        self._printed = -math.inf

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    @property
    def reading_ids(self) -> list[str]:
        """The readings seen so far."""
        return list(self._runs)

    def show(self, progress: Progress) -> None:
        """Take in one accepted turn."""
        view = self._runs.setdefault(progress.run.reading_id, _RunView(progress.run))
        view.take(progress)
        if not self._console.is_terminal and time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            self._console.print(view.line(), highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        room = (self._console.height - 1) // max(1, len(self._runs)) - FRAME
        return Group(*(view.panel(self._console.width, max(1, room)) for view in self._runs.values()))


class _RunView:
    """One reading: its marks, its memory before and after the last change, its speed."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._marks: deque[tuple[str, str]] = deque(maxlen=400)
        self._before = self._memory = run.memory
        self._started, self._tokens_before = time.monotonic(), run.usage.prompt_tokens

    def take(self, progress: Progress) -> None:
        if progress.turn is None:
            return
        outcome = progress.turn.outcome
        self._marks.append((MARKS[outcome], STYLES.get(outcome, "yellow")))
        if progress.turn.memory != self._memory:
            self._before, self._memory = self._memory, progress.turn.memory

    def line(self) -> str:
        """The state in one plain line."""
        return "  ".join(
            [f"{self._share():4.0%}", *self._facts(), f"memory: {printable(' '.join(self._memory.split())[:120])}"]
        )

    def panel(self, width: int, lines: int) -> Panel:
        """The state as a panel: bar, facts, a mark for each chunk, `lines` of memory with its last change."""
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(ratio=1)
        head.add_column(justify="right")
        head.add_row(ProgressBar(total=1.0, completed=self._share()), Text(f"{self._share():.0%}"))
        room = max(20, width - 6)
        marks = Text.assemble(*[(mark, style) for mark, style in list(self._marks)[-room:]])
        memory = last_lines(shown_memory(self._before, self._memory), room, lines)
        rows = Group(head, Text("  ".join(self._facts()), style="dim"), marks, Text(), memory)
        return Panel(
            rows, title=Text(printable(self.run.problem[:room]), style="bold"), title_align="left", border_style="blue"
        )

    def _share(self) -> float:
        return min(1.0, self.run.position / max(1, self.run.characters))

    def _facts(self) -> list[str]:
        usage, coverage = self.run.usage, self.run.coverage
        elapsed = max(1e-6, time.monotonic() - self._started)
        speed = (usage.prompt_tokens - self._tokens_before) / elapsed
        total = round(coverage.chunks / self._share()) if coverage.chunks and self._share() else 0
        of = f" of about {total:,}" if total > coverage.chunks else ""
        facts = [f"{coverage.chunks:,}{of} chunks", f"{speed:,.0f} tokens/s"]
        if 0 < self._share() < 1:
            left = elapsed * (1 - self._share()) / self._share()
            facts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        if usage.cost_usd:
            facts.append(f"${usage.cost_usd:.4f}")
        if coverage.failed:
            facts.append(f"{coverage.failed} failed")
        return facts
