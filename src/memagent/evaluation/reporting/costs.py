"""What is measured of a problem beside its score, and how it grows with the length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from memagent.evaluation.outcome import Outcome
from memagent.evaluation.reporting.table import Fit, Length, Table

# By its name in tables and figures.
MEASURED: Mapping[str, Callable[[Outcome], float]] = {
    "seconds": lambda outcome: outcome.seconds,
    "tokens in": lambda outcome: outcome.prompt_tokens,
    "tokens out": lambda outcome: outcome.completion_tokens,
    "calls": lambda outcome: outcome.model_calls,
    "USD": lambda outcome: outcome.cost_usd,
}

# Median seconds, median tokens or peak memory of a method at a length; None where it is not known.
Curve = Callable[[str, Length], "float | None"]


def curves(table: Table) -> dict[str, Curve]:
    """What is drawn and fitted against the length, by name. Of GPU and process, memory is the one that fills."""
    gpu = any(peak.gpu for peak in table.peaks.values())

    def memory(method: str, length: Length) -> float | None:
        peak = table.peaks.get((method, length.value)) if table.has_answers(method, length) else None
        size = None if peak is None else peak.gpu if gpu else peak.resident
        return None if size is None else size / 1e6

    return {
        "seconds": lambda method, length: table.median(method, length, MEASURED["seconds"]),
        "tokens": lambda method, length: table.median(method, length, _tokens),
        "GPU memory" if gpu else "peak memory": memory,
    }


def _tokens(outcome: Outcome) -> float:
    return outcome.prompt_tokens + outcome.completion_tokens


def slopes(table: Table) -> dict[str, dict[str, Fit]]:
    """The fit of each curve for each method that has one."""
    return {name: _fits(table, curve) for name, curve in curves(table).items()}


def _fits(table: Table, curve: Curve) -> dict[str, Fit]:
    found = {method: table.fit(partial(curve, method)) for method in table.methods}
    return {method: fit for method, fit in found.items() if fit is not None}
