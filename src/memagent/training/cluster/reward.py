"""verl's reward function: the score of an answer as text.

The agent loop scores its readings itself, as bonuses depend on how they were read; verl calls this for what other loops
of the same run answered, and its offline evaluation can. It does not know readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memagent.scoring import metric_named

DEFAULT = "reward_boxed"


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str | list[str],
    extra_info: Mapping[str, Any] | None = None,
    **_: Any,
) -> dict[str, float]:
    """The answer's score by the metric that the problem's `extra_info` names, else the published one.

    `data_source` is the dataset's name, and does not matter.

    Raises:
        OptionError: there is no such metric.
    """
    metric = str((extra_info or {}).get("metric") or DEFAULT)
    answers = [ground_truth] if isinstance(ground_truth, str) else [str(one) for one in ground_truth]
    return {"score": metric_named(metric)(solution_str, answers)}
