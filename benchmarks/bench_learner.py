"""Learner tokens a second, counted as if nothing were shared: with shared prefixes and without, and beside others.

The work is groups of G conversations of one chunk: a prompt that begins alike, a memory and a completion of their own.
Every contestant makes one update of the same LoRA matrices on the same ids by the same loss (bf16, no KL, AdamW):

- `shared`: this project's learner, prefixes computed once;
- `unshared`: the same with `share = false`;
- `plain`: a loop of transformers, PEFT and PyTorch, logits at the completions' positions only;
- `trl`: TRL's GRPOTrainer, which is handed the completions (`pip install --no-deps trl`; left out where there is none).

Rounds alternate; ratios are medians of the rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from memagent.models.pull import with_safetensors
from memagent.models.sources import locate
from memagent.training.advantages import Row
from memagent.training.experience import Conversation
from memagent.training.learner import Learner, LearnerSettings
from memagent.training.objective import Objective
from memagent.training.policy import Policy, Tuning

RANK, LR = 16, 1e-5
OBJECTIVE = Objective(kl=0.0)
Update = Callable[[], None]


def rows(rng: random.Random, *, size: int, prefix: int, own: int, completion: int) -> list[Row]:
    """One group's conversations of one chunk, of random ids; its advantages add up to 0."""

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(100, 40_000) for _ in range(count))

    shared, made = ids(prefix), []
    for number in range(size):
        said = ids(rng.randint(completion // 2, completion + completion // 2))
        made.append(
            Row(
                conversation=Conversation(
                    prompt=shared + ids(own), completion=said, logprobs=(-1.0,) * len(said), shared=prefix
                ),
                advantage=1.0 if number < size // 2 else -1.0,
                weight=1.0 / (size * completion),
            )
        )
    return made


def ours(folder: Path, work: list[Row], *, share: bool, columns: int) -> Update:
    """An update of this project's learner."""
    torch.manual_seed(0)
    settings = LearnerSettings(lr=LR, warmup=0, share=share, most_columns=columns)
    learner = Learner(Policy.load(folder, Tuning(rank=RANK)), settings)

    def update() -> None:
        learner.reinforce(learner.prepare(work), OBJECTIVE)

    return update


def plain(folder: Path, work: list[Row], *, columns: int) -> Update:
    """The same with nothing but transformers, PEFT and PyTorch: padded on the left, sorted by length."""
    torch.manual_seed(0)
    policy = Policy.load(folder, Tuning(rank=RANK))
    model, parameters = policy.model, list(policy.trained.values())
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=0.01)
    ordered = sorted(work, key=_length)
    size = max(1, columns // _length(ordered[-1]))

    def update() -> None:
        for at in range(0, len(ordered), size):
            _plain_loss(model, ordered[at : at + size]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return update


def _length(row: Row) -> int:
    return row.conversation.length


def _plain_loss(model: Any, batch: list[Row]) -> torch.Tensor:
    width, kept = max(map(_length, batch)), max(len(row.conversation.completion) for row in batch)
    ids, mask = (torch.zeros(len(batch), width, dtype=torch.long) for _ in range(2))
    said = torch.zeros(len(batch), kept)
    for number, row in enumerate(batch):
        ids[number, width - _length(row) :] = torch.tensor([*row.conversation.prompt, *row.conversation.completion])
        mask[number, width - _length(row) :] = 1
        said[number, kept - len(row.conversation.completion) :] = 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=kept + 1, use_cache=False).logits
    picked = logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, -kept:, None])[..., 0]
    ratio = (picked - picked.detach()).exp()
    advantages, weights = (torch.tensor([[getattr(row, name)] for row in batch]) for name in ("advantage", "weight"))
    bounded = ratio.clamp(1 - OBJECTIVE.clip_low, 1 + OBJECTIVE.clip_high)
    return -(torch.minimum(ratio * advantages, bounded * advantages) * said * weights).sum()


def trl(
    folder: Path, work: list[Row], others: dict[str, Update], *, columns: int, rounds: int
) -> list[dict[str, float]]:
    """Seconds of each contestant, GRPOTrainer among them: after each of its updates the others make theirs."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    found: list[dict[str, float]] = []

    class Alternate(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            found.append(shown({"trl": time.perf_counter() - self.began, **timed(others)}))

    def sampled(prompts: list[str], trainer: Any) -> dict[str, Any]:
        told = [row.conversation for row in work]
        return {
            "prompt_ids": [list(one.prompt) for one in told],
            "completion_ids": [list(one.completion) for one in told],
            "logprobs": [list(one.logprobs) for one in told],
        }

    size = max(1, columns // max(map(_length, work)))
    size = next(one for one in range(size, 0, -1) if len(work) % one == 0)
    with tempfile.TemporaryDirectory() as place:
        settings = GRPOConfig(
            output_dir=place, max_steps=rounds, per_device_train_batch_size=size, num_generations=len(work),
            gradient_accumulation_steps=len(work) // size, learning_rate=LR, beta=0.0, bf16=True, use_cpu=True,
            max_completion_length=1024, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            gradient_checkpointing=False, epsilon_high=OBJECTIVE.clip_high, max_grad_norm=1.0,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16),
            processing_class=AutoTokenizer.from_pretrained(folder),
            reward_funcs=lambda completions, **_: [row.advantage for row in work],
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": ["x"] * rounds}),
            peft_config=_lora(),
            callbacks=[Alternate()],
            rollout_func=sampled,
        )
        trainer.train()
    return found


def _lora() -> Any:
    import peft

    tuning = Tuning(rank=RANK)
    return peft.LoraConfig(
        r=RANK, lora_alpha=int(tuning.alpha), target_modules=list(tuning.targets), task_type="CAUSAL_LM"
    )


def shown(found: dict[str, float]) -> dict[str, float]:
    """A round's seconds, told at once, as rounds take minutes."""
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.items()), flush=True)
    return found


def timed(updates: dict[str, Update]) -> dict[str, float]:
    """Seconds of one update of each."""
    found = {}
    for name, update in updates.items():
        began = time.perf_counter()
        update()
        found[name] = time.perf_counter() - began
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--chunk", type=int, default=1024, help="tokens")
    parser.add_argument("--memory", type=int, default=64, help="tokens")
    parser.add_argument("--completion", type=int, default=32, help="tokens, on average")
    parser.add_argument("--columns", type=int, default=4096, help="ids of a micro-batch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-trl", action="store_true", help="leave TRL out even where it is installed")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    source = locate("smollm2-135m", print)
    assert source.folder is not None
    folder = with_safetensors(source.folder)
    work = rows(
        random.Random(0), size=given.group, prefix=given.chunk + 110, own=given.memory + 12, completion=given.completion
    )
    alone = [replace(row, conversation=replace(row.conversation, shared=0)) for row in work]
    updates = {
        "shared": ours(folder, work, share=True, columns=given.columns),
        "unshared": ours(folder, alone, share=False, columns=given.columns),
        "plain": plain(folder, work, columns=given.columns),
    }
    if importlib.util.find_spec("trl") and not given.no_trl:
        found = trl(folder, work, updates, columns=given.columns, rounds=given.rounds + 1)
    else:
        print("without TRL")
        found = [shown(timed(updates)) for _ in range(given.rounds + 1)]
    tokens = sum(map(_length, work))
    for name in found[0]:  # the first round compiles
        seconds = [one[name] for one in found[1:]]
        print(f"{name:9} {tokens / statistics.median(seconds):7,.0f} tokens/s, {statistics.median(seconds):.1f} s")
    for name, other in (("shared", "unshared"), ("unshared", "plain"), ("shared", "plain"), ("shared", "trl")):
        if other in found[0]:
            ratio = statistics.median(one[other] / one[name] for one in found[1:])
            print(f"{name} / {other}: {ratio:.2f}")


if __name__ == "__main__":
    main()
