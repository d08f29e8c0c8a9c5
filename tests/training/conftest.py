"""Tiny models that learn, and random experience for them."""

import random

import torch
from tests.models import tiny

from memagent.training.experience import Conversation, Group, Rollout
from memagent.training.policy import Policy, Tuning


def policy(rank=4, *, size=1.0, **changes):
    """The tiny Llama; LoRA's second matrices are made random, as they begin at zero. `size` scales its matrices."""
    torch.manual_seed(0)
    tensors = {name: array * (size if array.ndim > 1 else 1) for name, array in tiny.weights().items()}
    made = Policy(tiny.torch_model(tensors), Tuning(**{"rank": rank, "alpha": 8.0, "precision": "fp32", **changes}))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in made.trained.items():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return made


def ids(rng, count):
    return tuple(rng.randrange(3, 260) for _ in range(count))


def group(seed, *, rollouts=4, chunks=3, shared=True):
    """Rollouts of one problem: each chunk's prefix is the same, memories and completions differ."""
    rng = random.Random(seed)
    prefixes = [ids(rng, rng.randint(5, 40)) for _ in range(chunks + 1)]
    made = []
    for _ in range(rollouts):
        conversations = []
        for number, prefix in enumerate(prefixes[: rng.randint(1, chunks)] + prefixes[-1:]):
            completion = ids(rng, rng.randint(1, 9))
            conversations.append(
                Conversation(
                    prompt=prefix + ids(rng, rng.randint(1, 12)),
                    completion=completion,
                    logprobs=tuple(-rng.random() * 3 for _ in completion),
                    shared=len(prefix) if shared else 0,
                    place=str(number),
                )
            )
        made.append(Rollout(conversations=tuple(conversations), reward=float(rng.randrange(2))))
    if len({rollout.reward for rollout in made}) == 1:
        made[0] = Rollout(conversations=made[0].conversations, reward=1.0 - made[0].reward)
    return Group(problem=f"p{seed}", task="t", rollouts=tuple(made))
