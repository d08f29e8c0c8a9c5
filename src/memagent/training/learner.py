"""Updates: micro-batches forward and backward, gradients added up and clipped, one optimizer step.

What is learnt is a list of rows (`advantages`); how they share prefixes is `packing`'s business. It does not know
rollouts, recipes or files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from memagent.errors import OptionError, StoppedError
from memagent.training.advantages import Row
from memagent.training.objective import Objective, Terms, policy_terms
from memagent.training.packing import Layout, lay_out, micro_batches, trees
from memagent.training.policy import Policy
from memagent.training.processes import Processes
from memagent.training.sharding import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSettings:
    """How weights are updated.

    `lr` is constant after `warmup` steps that rise to it; from step `decay` on (0: never) it falls as 1/√ of the steps,
    which needs no known end. `most_columns` bounds the ids of a micro-batch, padding
    included. Without `share` every conversation computes its whole prompt. A step whose loss or gradient is not
    finite is skipped; so many `patience` in a row stop the run.
    """

    lr: float = 1e-6
    warmup: int = 20
    decay: int = 0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    most_columns: int = 8192
    share: bool = True
    patience: int = 5

    def lr_at(self, step: int) -> float:
        """The rate of update number `step`, counted from 1."""
        rising = min(1.0, step / max(1, self.warmup))
        falling = (self.decay / step) ** 0.5 if 0 < self.decay < step else 1.0
        return self.lr * rising * falling

    def check(self) -> None:
        """Raise OptionError where a value makes no sense."""
        for name in ("lr", "clip_norm", "most_columns", "patience"):
            if not 0 < getattr(self, name) < math.inf:
                raise OptionError(f"[learner] {name} must be above 0, not {getattr(self, name)}")
        for name in ("warmup", "decay", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"[learner] {name} must be 0 or more, not {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise OptionError(f"[learner] betas must be two shares below 1, not {list(self.betas)}")


@dataclass(slots=True)
class Prepared:
    """A micro-batch with what is known before the first update; `old` None: the policy is the one that sampled."""

    layout: Layout
    old: torch.Tensor | None = None
    reference: torch.Tensor | None = None


@dataclass(slots=True, kw_only=True)
class Update:
    """What one update did. `drift` is the mean of |log π_learner − log π_sampler| over its tokens, in nats."""

    loss: float
    surrogate: float = 0.0
    kl: float = 0.0
    clip_fraction: float = 0.0
    drift: float = 0.0
    grad_norm: float = 0.0
    lr: float = 0.0
    tokens: int = 0
    columns: int = 0
    skipped: bool = False


@dataclass
class Learner:
    """One policy and its optimizer. `steps` counts updates made, `skipped` those that were not finite.

    Each of several `processes` has its own rows; losses and gradients are added up over all.
    """

    policy: Policy
    settings: LearnerSettings
    temperature: float = 1.0
    processes: Processes = field(default_factory=Processes)
    steps: int = 0
    skipped: int = 0
    optimizer: Any = field(init=False)
    skipped_in_a_row: int = 0

    def __post_init__(self) -> None:
        self.settings.check()
        self.optimizer = torch.optim.AdamW(
            self.policy.trained.values(),
            lr=self.settings.lr,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
        )

    def prepare(self, rows: Sequence[Row]) -> list[Prepared]:
        """Lay rows out as micro-batches, on the device of the weights.

        Processes that share weights make the same number of passes; those with less to do make empty ones.
        """
        found = trees(rows, share=self.settings.share, most_columns=self.settings.most_columns)
        device = next(iter(self.policy.trained.values())).device
        batches = micro_batches(found, most_columns=self.settings.most_columns)
        if self.policy.sharded:
            batches += [[]] * (max(self.processes.everyones([len(batches)])) - len(batches))
        return [Prepared(lay_out(batch, device=device)) for batch in batches]

    def score(self, prepared: Sequence[Prepared], reference: Mapping[str, torch.Tensor] | None, *, old: bool) -> None:
        """Note the log-probabilities of the policy as it is (`old`) and of the reference, whose weights are given."""
        with torch.no_grad():
            for one in prepared if old else ():
                one.old = self.policy.logprobs(one.layout, temperature=self.temperature)
            if reference is not None:
                with self.policy.standing_in(reference):
                    for one in prepared:
                        one.reference = self.policy.logprobs(one.layout, temperature=self.temperature)

    def reinforce(self, prepared: Sequence[Prepared], objective: Objective) -> Update:
        """One update by Multi-Conv DAPO's loss.

        Raises:
            StoppedError: losses or gradients keep being not finite.
        """

        def terms(one: Prepared, logprobs: torch.Tensor) -> Terms:
            layout = one.layout
            old = logprobs.detach() if one.old is None else one.old
            return policy_terms(
                logprobs, old, layout.advantages, layout.weights, objective,
                reference=one.reference, sampler=layout.sampler,
            )  # fmt: skip

        return self._update(prepared, terms)

    def imitate(self, prepared: Sequence[Prepared]) -> Update:
        """One supervised update: −Σ w · log π of the rows' completions.

        Raises:
            StoppedError: as `reinforce`.
        """

        def terms(one: Prepared, logprobs: torch.Tensor) -> Terms:
            loss, none = -(one.layout.weights * logprobs).sum(), torch.zeros((), device=logprobs.device)
            return Terms(loss, -loss.detach(), none, none)

        return self._update(prepared, terms)

    def _update(self, prepared: Sequence[Prepared], terms: Callable[[Prepared, torch.Tensor], Terms]) -> Update:
        sums = torch.zeros(6, dtype=torch.float64)
        for one in prepared:
            logprobs = self.policy.logprobs(one.layout, temperature=self.temperature)
            found = terms(one, logprobs)
            found.loss.backward()
            drift = (logprobs.detach() - one.layout.sampler).abs().sum()
            values = (found.loss.detach(), found.surrogate, found.kl, found.clipped, drift, len(logprobs))
            sums += torch.tensor([float(value) for value in values], dtype=torch.float64)
        self.processes.add_up([sums])
        loss, surrogate, kl, clipped, drift, tokens = sums.tolist()
        update = Update(
            loss=loss,
            surrogate=surrogate,
            kl=kl,
            clip_fraction=clipped / max(1, tokens),
            drift=drift / max(1, tokens),
            tokens=int(tokens),
            columns=sum(one.layout.ids.numel() for one in prepared),
        )
        return self._step(update)

    def _step(self, update: Update) -> Update:
        parameters = list(self.policy.trained.values())
        if not self.policy.sharded:
            for one in parameters:
                if one.grad is None:  # a process without a part in this mini-batch
                    one.grad = torch.zeros_like(one)
            self.processes.add_up([one.grad for one in parameters])
        update.grad_norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm)))
        update.lr = self.settings.lr_at(self.steps + 1)
        update.skipped = not (math.isfinite(update.loss) and math.isfinite(update.grad_norm))
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if update.skipped else 0
        if update.skipped:
            self.skipped += 1
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = update.lr
            self.optimizer.step()
            self.steps += 1
        self.optimizer.zero_grad(set_to_none=True)
        if self.skipped_in_a_row >= self.settings.patience:
            raise StoppedError(
                f"{self.skipped_in_a_row} updates in a row were not finite: the run has diverged; go on from an "
                "earlier checkpoint with a lower lr"
            )
        return update
