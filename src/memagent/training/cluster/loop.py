"""The agent loop: verl asks for a rollout of a problem, the one reader makes it on verl's servers, and each of its
conversations becomes a row.

How it reads and what it is worth says the recipe. It does not know advantages or weights.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput

from memagent.models.local import LocalModel
from memagent.models.tokenizers import HubTokenizer, load_tokenizer
from memagent.tasks.official import from_record
from memagent.tasks.problem import Problem
from memagent.training.cluster.served import ServedEngine, rows
from memagent.training.recipe import Recipe
from memagent.training.rewards import Reward, reward_of
from memagent.training.sampling import Asked, Sampler


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all rollouts of a process share."""

    recipe: Recipe
    tokenizer: HubTokenizer
    reward: Reward


@lru_cache(maxsize=8)
def _shared(recipe: str, model: str) -> _Shared:
    found, tokenizer = Recipe.read(Path(recipe)), load_tokenizer(model)
    memory = found.reading.memory_tokens
    if memory is None:
        raise ValueError(f"{recipe} leaves sizes of the reading open: `memagent train --on verl` resolves them")
    return _Shared(found, tokenizer, reward_of(found.reward, memory_tokens=memory, tokenizer=tokenizer))


class ReadingLoop(AgentLoopBase):  # type: ignore[misc]
    """Reads one problem as `recipe` says (a path; its reading resolved); verl makes one for each rollout."""

    def __init__(self, *args: Any, recipe: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model = self.config.actor_rollout_ref.model
        self._name = str(model.get("tokenizer_path") or model.path)
        self._shared = _shared(recipe, self._name)

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        """The conversations of one reading of the row's problem, the answer's last; it bears the reward.

        Raises:
            MemagentError: the problem cannot be read, or sampling failed; the group is learnt without this rollout.
        """
        began = time.monotonic()
        engine = ServedEngine(self.server_manager, sampling_params)
        (made,) = await self._sampler(engine, sampling_params).read([Asked(problem=problem_of(row))])
        return rows(
            made.calls,
            self._shared.reward(made.problem, made.read),
            versions=engine.versions,
            seconds=time.monotonic() - began,
            mask=self._shared.recipe.rollouts.cut_off == "mask",
        )

    def _sampler(self, engine: ServedEngine, asked: dict[str, Any]) -> Sampler:
        model = LocalModel(
            engine,
            self._shared.tokenizer,
            name=self._name,
            window=int(self.rollout_config.max_model_len),
            identity={"kind": "policy", "model": self._name},
        )
        reading = self._shared.recipe.reading
        settings = replace(reading, temperature=float(asked["temperature"]), top_p=float(asked["top_p"]))
        return Sampler(model=model, settings=settings)


def problem_of(row: dict[str, Any]) -> Problem:
    """The problem of a row of verl's dataset, which `data` wrote or MemAgent's authors published.

    Raises:
        InputError: it is none.
    """
    number = int(row.get("index") or 0)
    return from_record("train-parquet", f"row {number}", row, number)
