"""What a GPU needs where FSDP shards the training and vLLM samples on the same GPUs. Pure functions; sizes are bytes.

It is arithmetic, and was not measured on a cluster. verl's engine was read for what it keeps: masters, gradients and
moments in 32 bits, spread over all GPUs; two blocks and the embeddings whole while they compute; the activations of
`training.memory`; and all logits of a micro-batch, three times. Its reference waits in the node's memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from memagent.evaluation.cost.architecture import Architecture
from memagent.training.forecast import Sizes
from memagent.training.memory import HALF, MASTER, MOMENTS, activations, trained_weights
from memagent.training.recipe import Recipe

GPU_BYTES = 80_000_000_000  # A100 and H100
ROLLOUT_SHARE = 0.5  # of a GPU, that vLLM may fill with weights and keys and values while it samples
USABLE = 0.9  # of a GPU while it learns
_LOGIT_COPIES = 3  # as they come, divided by the temperature, and the gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUNeed:
    """Bytes on one GPU: `state` always, `learning` (the state included) while it learns, and of the sampler its weights
    and the keys and values of one conversation, which are let go of while it learns."""

    state: int
    learning: int
    rollout_weights: int
    conversation: int

    def fits(self, gpu_bytes: int) -> bool:
        """Whether the state can stay on the GPU all the time."""
        return self.learns(gpu_bytes) and self.state <= (1 - ROLLOUT_SHARE) * gpu_bytes

    def learns(self, gpu_bytes: int) -> bool:
        """Whether it can learn at all: what is offloaded meanwhile comes back for that."""
        return self.learning <= USABLE * gpu_bytes

    def samples(self, gpu_bytes: int) -> bool:
        """Whether the sampler has room for its weights and a conversation."""
        return self.rollout_weights + self.conversation <= ROLLOUT_SHARE * gpu_bytes


def need_of(recipe: Recipe, model: Architecture, sizes: Sizes, *, gpus: int, ways: int = 1) -> GPUNeed:
    """What one of `gpus` GPUs needs; the rollouts' weights are spread over `ways` of them."""
    trained = trained_weights(model, recipe.tuning)
    state = MASTER * (model.weights + (1 + MOMENTS) * trained) // gpus
    embeddings = model.weights - model.block_weights
    whole = HALF * (2 * model.block_weights // model.layers + embeddings)
    columns = max(recipe.learner.most_columns, sizes.longest)
    logits = HALF * _LOGIT_COPIES * columns * model.vocabulary
    return GPUNeed(
        state=state,
        learning=state + whole + activations(model, recipe.tuning, columns, tree=None) + logits,
        rollout_weights=HALF * model.weights // ways,
        conversation=HALF * model.state_values * sizes.longest // ways,
    )
