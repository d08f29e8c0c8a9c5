"""Which methods run on which models, in what order, and how each is opened.

A recipe names methods (`reading`, `paper`, `gated`, or a baseline) and models; a method that scales rotary
positions needs its model opened anew. It does not know problems.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from memagent.errors import OptionError, SetupError
from memagent.evaluation.baselines import NAMES, strategy_named
from memagent.evaluation.consulting import Baseline
from memagent.evaluation.methods import Method, ReadingMethod
from memagent.evaluation.recipe import Recipe
from memagent.models import ModelOptions
from memagent.models.base import Model
from memagent.reading import Journal
from memagent.reading.run import OnProgress

READING = ("reading", "paper", "gated")


@dataclass(frozen=True, slots=True)
class Entrant:
    """One line of the comparison: `kind` is what runs, `name` what it is called in tables and figures."""

    name: str
    kind: str
    options: ModelOptions


def line_up(recipe: Recipe, longest: int) -> list[Entrant]:
    """All entrants of a recipe, those that share a model next to each other.

    `longest` is the longest prompt in tokens: RoPE scaling without a factor stretches a model's window so far.

    Raises:
        OptionError: an unknown method, or RoPE scaling for an endpoint.
        SetupError: RoPE scaling without transformers.
    """
    several = len(recipe.models) > 1
    entrants = []
    for options in recipe.models:
        for kind in recipe.methods:
            name = f"{model_label(options)} {kind}" if several else kind
            entrants.append(Entrant(name, kind, _scaled(options, kind, longest)))
    if len({entrant.name for entrant in entrants}) < len(entrants):
        raise OptionError("two of the models have the same name and adapter")
    order = {options: number for number, options in enumerate(dict.fromkeys(one.options for one in entrants))}
    return sorted(entrants, key=lambda entrant: order[entrant.options])


def scales_as_needed(methods: Sequence[str]) -> bool:
    """Whether a method stretches the window as far as the longest prompt needs."""
    return any(method not in READING and "+" in method and ":" not in method for method in methods)


def model_label(options: ModelOptions) -> str:
    """A model's short name, with its adapter's."""
    return options.model if options.adapter is None else f"{options.model}+{options.adapter.rstrip('/').split('/')[-1]}"


def check_methods(methods: Sequence[str]) -> None:
    """Raise OptionError for a method that does not exist."""
    for method in methods:
        if method not in READING:
            try:
                strategy_named(method)
            except OptionError:
                raise OptionError(f"there is no method {method}: take {', '.join((*READING, *NAMES))}") from None


def enter(entrant: Entrant, model: Model, recipe: Recipe, journal: Journal, on_progress: OnProgress) -> Method:
    """The method itself, on its opened model."""
    if entrant.kind in READING:
        given = recipe.reading.protocol if entrant.kind == "reading" else entrant.kind
        settings = dataclasses.replace(recipe.reading, protocol=given)
        return ReadingMethod(entrant.name, model, settings, journal, on_progress=on_progress)
    return Baseline(
        entrant.name, strategy_named(entrant.kind), model, recipe.reading, journal, window=entrant.options.window
    )


def _scaled(options: ModelOptions, kind: str, longest: int) -> ModelOptions:
    _, _, scaling = kind.partition("+")
    if not scaling or kind in READING:
        return options
    if options.model.partition(":")[0] != "local":
        raise OptionError(f"{kind} needs a local model: an endpoint scales positions as it was started")
    name, _, factor = scaling.partition(":")
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise SetupError(f"{kind} needs transformers: pip install 'memagent[torch]'")
    return replace(options, engine="auto", rope=f"{name}:{factor}" if factor else f"{name}@{longest}")
