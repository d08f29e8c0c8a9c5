"""How far a run is, and when it will be done. It knows neither what is run nor how it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from memagent.evaluation.outcome import Outcome

SETTLED = 5.0  # seconds before which a pace is only noise
FRAME_TOKENS = 300  # about what a problem costs beside its document
DOCUMENT_TOKENS = 140  # about what one of the documents has that lengths may be counted in


@dataclass
class State:
    """How far a run is: what a screen shows. Weights are tokens to read, so that long problems count more.

    `weight_before` is what was done, or known, without any work in this session. `reading` holds weight and the
    share that is done of each problem under way, by reading id.
    """

    total: int = 0
    weight: float = 0.0
    weight_done: float = 0.0
    weight_before: float = 0.0
    now: str = ""
    outcomes: Sequence[Outcome] = ()
    reading: dict[str, tuple[float, float]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        """The part of the work that is done, from 0 to 1."""
        under_way = sum(weight * share for weight, share in self.reading.values())
        return min(1.0, (self.weight_done + under_way) / self.weight) if self.weight else 0.0

    @property
    def seconds_left(self) -> float | None:
        """By the pace of this session; None while there is none, or hardly any."""
        done = self.share - (self.weight_before / self.weight if self.weight else 0.0)
        elapsed = time.monotonic() - self.began
        return (1 - self.share) / done * elapsed if done > 0 and elapsed >= SETTLED else None


OnState = Callable[[State], None]


def work(kind: str, length: int, window: int, *, in_documents: bool) -> int:
    """About how many tokens a method of this kind reads of a problem, for a model with such a `window`."""
    tokens = length * DOCUMENT_TOKENS if in_documents else length
    if kind == "no-context" or (kind == "full" and tokens > window):
        return FRAME_TOKENS
    return FRAME_TOKENS + (min(tokens, window) if kind in ("truncated", "bm25") else tokens)
