"""Rotary positions stretched beyond the window that a model was trained with, without training it.

It configures transformers' own formulas and does not know batches or text. `linear` divides all positions by the
factor (arXiv 2306.15595), `yarn` does so by frequency (arXiv 2309.00071, section 3.2), and `dynamic` (dynamic NTK,
section 3.3 there) raises the base by how far each prompt goes beyond the window, so that short ones are untouched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memagent.errors import OptionError

KINDS = ("yarn", "dynamic", "linear")


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """`kind` is one of KINDS. The window becomes `factor` times as large; or, where `tokens` are given, as many times
    as it takes to hold them, by a power of two and at least twice."""

    kind: str
    factor: float = 1.0
    tokens: int | None = None

    @classmethod
    def parse(cls, text: str) -> RopeScaling:
        """`yarn:4`, or `yarn@65536` for at least so many tokens.

        Raises:
            OptionError: another kind, or a factor that is no number of at least 1.
        """
        kind, at, wanted = text.partition("@")
        if at and kind in KINDS and wanted.isdecimal():
            return cls(kind, tokens=int(wanted))
        kind, _, number = text.partition(":")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if kind not in KINDS or not 1 <= factor < math.inf:
            raise OptionError(f"{text!r} scales no rotary positions: write {', '.join(KINDS)} and a factor, as yarn:4")
        return cls(kind, factor)

    def stretch(self, trained: int) -> float:
        """By how much a window of `trained` tokens grows."""
        factor = self.factor if self.tokens is None else 2.0
        while self.tokens is not None and trained * factor < self.tokens:
            factor *= 2
        return factor

    def window(self, trained: int) -> int:
        """Tokens of the stretched window."""
        return int(trained * self.stretch(trained))

    def configure(self, config: Any) -> None:
        """Set a transformers text configuration before its model is made.

        Raises:
            OptionError: the model has no plain rotary positions to scale.
        """
        parameters = getattr(config, "rope_parameters", None) or {}
        if parameters.get("rope_type") != "default":
            raise OptionError("this model's positions cannot be scaled: they are not plain rotary ones")
        # Dynamic NTK stretches by the prompt's own length; there its factor is a knob, and 1 gives the paper's formula.
        trained = config.max_position_embeddings
        factor = 1.0 if self.kind == "dynamic" else self.stretch(trained)
        extra = {"original_max_position_embeddings": trained} if self.kind == "yarn" else {}
        config.rope_parameters = {**parameters, "rope_type": self.kind, "factor": factor, **extra}


def length_setter(model: Any) -> Callable[[int], None]:
    """What sets a `dynamic` model's frequencies for a text of so many tokens (prompt and reply).

    transformers changes them while it decodes, and keeps those of the longest text so far: a reply would depend on
    what was asked before it. Here they are fixed for each text.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rotary = model.base_model.rotary_emb
    rotary.rope_type = "default"  # no changes of its own any more

    def set_length(tokens: int) -> None:
        rotary.inv_freq, rotary.attention_scaling = ROPE_INIT_FUNCTIONS["dynamic"](
            rotary.config, rotary.inv_freq.device, seq_len=tokens
        )

    return set_length
