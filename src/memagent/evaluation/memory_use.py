"""The most memory that this process holds while something runs, sampled; GPU memory where torch keeps it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

INTERVAL = 0.05  # seconds between two looks


@dataclass
class MemoryUse:
    """Bytes: `resident` memory of the process, and `gpu` memory if torch uses one."""

    resident: int | None = None
    gpu: int | None = None


class _Sampler:
    def __init__(self, use: MemoryUse) -> None:
        import psutil

        self._use = use
        self._process = psutil.Process()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory-use")

    def __enter__(self) -> None:
        self._look()
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._end.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        self._use.resident = max(self._use.resident or 0, int(self._process.memory_info().rss))


@contextlib.contextmanager
def watching_memory() -> Iterator[MemoryUse]:
    """A `MemoryUse` that holds the peak when the block is left; all None where psutil is missing."""
    use = MemoryUse()
    torch = sys.modules.get("torch")
    has_gpu = torch is not None and torch.cuda.is_available()
    if torch is not None and has_gpu:
        torch.cuda.reset_peak_memory_stats()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError):
            held.enter_context(_Sampler(use))
        yield use
    if torch is not None and has_gpu:
        use.gpu = int(torch.cuda.max_memory_allocated())
