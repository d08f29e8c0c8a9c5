"""How far a training run is: what a screen shows. It does not know how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memagent.training.metrics import StepMetrics, ValidationMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`steps_done` of `steps`, and the `share` of what is done `now` ("sampling", "learning", "validating" …).

    `step` is the last one, and `first` and `last` are validations: the one at the start, and the newest.
    """

    steps: int
    steps_done: int = 0
    now: str = "loading"
    share: float = 0.0
    step: StepMetrics | None = None
    first: ValidationMetrics | None = None
    last: ValidationMetrics | None = None
    seconds_left: float | None = None


OnState = Callable[[State], None]
