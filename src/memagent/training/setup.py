"""From a recipe to the parts of a run: base, policy, actor, sampler, learner. It takes no step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from memagent.errors import SetupError
from memagent.models.adapters import Adapter, read_adapter
from memagent.models.engines.torch import load_model
from memagent.models.local import suggestions
from memagent.models.paths import user_path
from memagent.models.pull import with_safetensors
from memagent.models.sources import Source, locate
from memagent.reading import Journal
from memagent.reading.settings import Plan
from memagent.training.actor import Actor
from memagent.training.learner import Learner
from memagent.training.policy import Policy
from memagent.training.processes import Processes
from memagent.training.recipe import Recipe
from memagent.training.sampling import Sampler

ROWS = 128  # prompts that decode together, if memory allows


@dataclass
class Parts:
    """What a run works with. `plan` is how the policy reads, every default filled in."""

    source: Source
    policy: Policy
    actor: Actor
    sampler: Sampler
    learner: Learner
    plan: Plan
    end_ids: tuple[int, ...]

    def follow(self) -> None:
        """Let the actor sample with the weights as they are now."""
        self.actor.follow(self.policy.merged_weights())


def prepare(recipe: Recipe, journal: Journal, processes: Processes, report: Callable[[str], None]) -> Parts:
    """Load everything; new matrices are drawn by the recipe's seed.

    Raises:
        SetupError: weights, an extra or the adapter's base is missing or another.
        OptionError: sizes do not fit the model, or the adapter does not fit [tuning].
    """
    source = locate(recipe.base.name, report)
    source.tokenizer.require_chat_template()
    folder = with_safetensors(_folder(source))
    start = read_adapter(user_path(recipe.base.adapter)) if recipe.base.adapter else None
    torch.manual_seed(recipe.seed)
    policy = Policy.load(folder, recipe.tuning, start=start)
    twin = load_model(folder, precision="fp32" if recipe.tuning.precision == "fp32" else "auto")
    if start is not None:
        _check(start, source, twin)
    end_ids, window = _ends(twin), int(twin.config.get_text_config().max_position_embeddings)
    actor = Actor(
        twin,
        source.tokenizer,
        name=source.name,
        window=window,
        end_ids=end_ids,
        rows=ROWS,
        suggests=suggestions(source, start),
    )
    settings = replace(recipe.reading, temperature=recipe.rollouts.temperature, top_p=recipe.rollouts.top_p)
    if recipe.tuning.shard and processes.count > 1:
        policy.shard()
    learner = Learner(policy, recipe.learner, temperature=_temperature(recipe), processes=processes)
    sampler = Sampler(model=actor.model, settings=settings, journal=journal, taking_part=actor.taking_part)
    replace(recipe.reading, **recipe.output.reads.told()).resolve(actor.model)  # what the card says must be possible
    return Parts(source, policy, actor, sampler, learner, recipe.reading.resolve(actor.model), end_ids)


def _temperature(recipe: Recipe) -> float:
    """Rollouts' log-probabilities are of the tempered distribution; examples have none."""
    return recipe.rollouts.temperature if recipe.kind == "rl" else 1.0


def _folder(source: Source) -> Path:
    if source.folder is None:
        raise SetupError(f"training needs safetensors, and {source.name} has none")
    return source.folder


def _check(start: Adapter, source: Source, model: Any) -> None:
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    start.check(source.name, source.base_sha256, shapes)


def _ends(model: Any) -> tuple[int, ...]:
    ended = model.generation_config.eos_token_id
    return tuple(ended) if isinstance(ended, list) else () if ended is None else (ended,)
