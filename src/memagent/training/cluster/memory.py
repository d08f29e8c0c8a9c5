"""What a GPU needs where FSDP shards the training and vLLM samples on the same GPUs. Pure functions; sizes are bytes.

FSDP's part is arithmetic (masters, gradients and moments in 32 bits, spread over all GPUs; a block is whole while it is
computed); activations are those of `training.memory`. None of it was measured on a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from memagent.evaluation.cost.architecture import Architecture
from memagent.training.forecast import Sizes
from memagent.training.memory import HALF, Machine, need
from memagent.training.recipe import Recipe

GPU_BYTES = 80_000_000_000  # A100 and H100
ROLLOUT_SHARE = 0.5  # of a GPU, that vLLM may fill with weights and keys and values while it samples


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUNeed:
    """Bytes on one GPU: of the training, and of the rollouts' weights and the keys and values of one conversation.

    Both are there at once, but for keys and values, which are let go of while weights learn.
    """

    training: int
    rollout_weights: int
    conversation: int


def need_of(recipe: Recipe, model: Architecture, sizes: Sizes, *, gpus: int, ways: int = 1) -> GPUNeed:
    """What one of `gpus` GPUs needs; the rollouts' weights are spread over `ways` of them."""
    # verl computes every conversation's whole prompt, and shards whatever the recipe says.
    as_there = replace(recipe, tuning=replace(recipe.tuning, shard=True), learner=replace(recipe.learner, share=False))
    found = need(as_there, model, sizes, Machine(room=0, gpu=True, processes=gpus))
    return GPUNeed(
        training=found.total - found.sampler,
        rollout_weights=HALF * model.weights // ways,
        conversation=HALF * model.state_values * sizes.longest // ways,
    )
