"""Scores of replies, as pure functions: the published ones to the letter, and strict ones beside them.

A metric takes the raw reply and the accepted answers and gives a score from 0 to 1; it never fails on any text.
Nothing here knows how a reply came about. What each metric does with hard cases: docs/scoring.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from memagent.errors import OptionError
from memagent.scoring.answers import final_answer
from memagent.scoring.hooks import Metric, hook
from memagent.scoring.official import reward_boxed, ruler_all, ruler_part, sub_em
from memagent.scoring.strict import contains, em, f1, multi_value, rouge_l

__all__ = ["METRICS", "Metric", "final_answer", "metric_named", "scores"]

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "reward_boxed": reward_boxed,
        "sub_em": sub_em,
        "em": em,
        "f1": f1,
        "contains": contains,
        "multi_value": multi_value,
        "ruler_all": ruler_all,
        "ruler_part": ruler_part,
        "rouge_l": rouge_l,
    }
)

_SHORT_ANSWER = ("reward_boxed", "sub_em", "em", "f1", "contains")
_SEVERAL_VALUES = ("ruler_all", "multi_value")
# What is told beside a main metric: the others that mean something for the same kind of answer.
_BESIDE = {"ruler_all": _SEVERAL_VALUES, "multi_value": _SEVERAL_VALUES, "rouge_l": ("f1",)}


def metric_named(name: str) -> Metric:
    """The metric called `name`: one of `METRICS`, or a user's function as `package.module:function`.

    Raises:
        OptionError: there is none, or the user's function cannot be imported or called.
    """
    if name in METRICS:
        return METRICS[name]
    if ":" in name:
        return hook(name)
    raise OptionError(f"there is no metric {name}: take {', '.join(METRICS)}, or package.module:function")


def scores(reply: str, references: Sequence[str], main: str) -> dict[str, float]:
    """The score by `main`, first, and by the metrics that make sense beside it.

    Raises:
        OptionError: there is no metric `main`, or a user's own failed.
    """
    names = dict.fromkeys((main, *_BESIDE.get(main, _SHORT_ANSWER)))
    return {name: metric_named(name)(reply, references) for name in names}
