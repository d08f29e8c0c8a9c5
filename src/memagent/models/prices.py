"""Reads prices as users write them. No table of models: prices rot, so the user gives them."""

from __future__ import annotations

import math

from memagent.errors import OptionError
from memagent.models.base import Price


def parse_price(text: str) -> Price:
    """`0.15,0.60` or `0.15,0.60,0.075`: USD for a million prompt, completion and cached prompt tokens.

    Raises:
        OptionError: not two or three numbers of 0 or more.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise OptionError(
            f"--price must be PROMPT,COMPLETION[,CACHED] in USD per million tokens (0.15,0.60), not {text!r}"
        )
    return Price(*numbers)
