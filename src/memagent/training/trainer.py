"""A training run from its recipe to its exports: steps, validations, checkpoints, the log. Resumable at every step.

What a step does is in `reinforcing` and `imitating`. Step s draws what it draws by s alone, so a run that goes on from
a checkpoint repeats what a run without a break would have done. It does not know how progress is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from memagent.reading import Journal
from memagent.tasks.problem import Problem
from memagent.training.checkpoints import Checkpoints, Saved
from memagent.training.claim import CHECKPOINTS, claimed
from memagent.training.curve import draw_run
from memagent.training.exports import card, check_adapter, write_adapter, write_merged
from memagent.training.imitating import imitate
from memagent.training.log import Log, Records, RunLog, read_log
from memagent.training.metrics import StepMetrics, ValidationMetrics
from memagent.training.mixture import Mixture, validation
from memagent.training.oracle import Oracle, end_of_turn
from memagent.training.processes import Processes, joined
from memagent.training.progress import OnState, State
from memagent.training.recipe import Recipe
from memagent.training.reinforcing import Reinforcing, metrics
from memagent.training.rewards import reward_of
from memagent.training.setup import Parts, prepare
from memagent.training.validating import validate

READINGS, CURVE, ADAPTER, MERGED = "readings", "curve.png", "adapter", "merged"
Report = Callable[[str], None]


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    on_state: OnState = lambda state: None,
    report: Report = lambda line: None,
    wandb: bool = False,
) -> None:
    """Run `recipe` in `folder`, or go on with the run that is there.

    Raises:
        InputError, SetupError: the recipe, its data or a model cannot be used; no step was taken.
        JournalError: another process is at work in the folder.
        StoppedError: stopped half-way; go on with `resume`.
    """
    recipe.check()
    with joined() as processes, contextlib.ExitStack() as held:
        if processes.leads:
            held.enter_context(claimed(recipe, folder, resume=resume))
        processes.wait()
        journal = held.enter_context(contextlib.closing(Journal(folder / READINGS if processes.leads else None)))
        parts = prepare(recipe, journal, processes, report)
        held.enter_context(contextlib.closing(parts.actor))
        run = _Run.of(recipe, folder, parts, processes, on_state=on_state, report=report)
        if processes.leads:
            settings = dataclasses.asdict(recipe)
            log: Log = RunLog(folder, steps_done=run.steps_done, wandb=wandb, settings=settings)
        processes.wait()
        if not processes.leads:
            log = Records(read_log(folder))
        run.go(held.enter_context(contextlib.closing(log)))


@dataclass
class _Run:
    """A run under way."""

    recipe: Recipe
    folder: Path
    parts: Parts
    processes: Processes
    mixture: Mixture
    problems: list[Problem]
    checkpoints: Checkpoints
    reference: Mapping[str, torch.Tensor]
    on_state: OnState
    steps_done: int = 0
    state: State = field(init=False)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        folder: Path,
        parts: Parts,
        processes: Processes,
        *,
        on_state: OnState,
        report: Report,
    ) -> _Run:
        """Read and check the data, and go back to the newest checkpoint if there is one."""
        tokenizer = parts.actor.model.tokenizer
        problems = validation(recipe, tokenizer)
        mixture = Mixture(
            recipe.data,
            tokenizer,
            seed=recipe.seed,
            curriculum=recipe.curriculum,
            batch=_batch(recipe),
            refills=recipe.rollouts.refills if recipe.kind == "rl" else 0,
            held_out=problems,
        )
        for note in mixture.notes:
            report(f"note: {note}")
        output = recipe.output
        if recipe.tuning.rank:
            check_adapter(parts.policy, dtype=output.adapter_type, most_bytes=output.part_bytes)
        checkpoints = Checkpoints(folder / CHECKPOINTS, keep=output.keep, part_bytes=output.part_bytes, report=report)
        reference = parts.policy.snapshot()
        run = cls(recipe, folder, parts, processes, mixture, problems, checkpoints, reference, on_state)
        saved = checkpoints.newest()
        if saved is not None:
            saved.restore(parts.learner)
            run.steps_done = saved.steps_done
            report(f"going on after step {saved.steps_done}")
        run.state = State(steps=recipe.steps, steps_done=run.steps_done)
        return run

    def go(self, log: Log) -> None:
        """All steps that are left, then the exports of the best."""
        began, before = time.monotonic(), self.steps_done
        self.parts.follow()
        known = {one.step for one in log.validations}
        self.state = dataclasses.replace(self.state, first=_first(log), last=_last(log))
        if not self.steps_done:
            self._checkpoint()  # the start may be the best there is
        if self.problems and self.steps_done not in known and self._validates(self.steps_done):
            self._validate(log)
        while self.steps_done < self.recipe.steps:
            made = self._step(self.steps_done)
            self.steps_done += 1
            log.add(made)
            pace = (time.monotonic() - began) / (self.steps_done - before)
            left = pace * (self.recipe.steps - self.steps_done)
            self._tell("validating", step=made, steps_done=self.steps_done, seconds_left=left)
            self.parts.follow()
            self._checkpoint()
            if self.problems and self._validates(self.steps_done):
                self._validate(log)
            self._draw(log)
        self._export()

    def _step(self, number: int) -> StepMetrics:
        return self._reinforce(number) if self.recipe.kind == "rl" else self._imitate(number)

    def _reinforce(self, number: int) -> StepMetrics:
        recipe, parts = self.recipe, self.parts
        reward = reward_of(recipe.reward, memory_tokens=parts.plan.memory_tokens, tokenizer=parts.actor.model.tokenizer)
        step = Reinforcing(
            rollouts=recipe.rollouts,
            advantages=recipe.advantages,
            objective=recipe.objective,
            sampler=parts.sampler,
            learner=parts.learner,
            reward=reward,
            reference=self.reference,
        )
        began = time.monotonic()
        self._tell("sampling")
        seed = (recipe.seed * 1_000_003 + number) * 64
        experience = asyncio.run(
            step.sample(lambda count, attempt: self.mixture.draw(number, count, attempt), seed=seed)
        )
        self._tell("learning", share=0.5)
        learning = time.monotonic()
        updates = step.learn(experience)
        now = time.monotonic()
        return metrics(
            number,
            experience,
            updates,
            seconds=now - began,
            learning=now - learning,
            plain_tokens=step.plain_tokens(experience),
        )

    def _imitate(self, number: int) -> StepMetrics:
        recipe, parts = self.recipe, self.parts
        self._tell("learning")
        oracle = Oracle(
            tokenizer=parts.source.tokenizer,
            settings=recipe.reading,
            window=parts.actor.model.window,
            end_id=end_of_turn(parts.source.tokenizer, parts.end_ids),
            suggests=parts.actor.model.suggests,
            metric=recipe.reward.metric,
            reply=recipe.warm_start.reply,
            astray=recipe.warm_start.astray,
        )
        return imitate(
            oracle,
            parts.learner,
            recipe.warm_start,
            self.mixture.draw(number, _batch(recipe)),
            step=number,
            seed=recipe.seed,
        )

    def _validates(self, steps_done: int) -> bool:
        return steps_done % self.recipe.validation.every == 0 or steps_done == self.recipe.steps

    def _validate(self, log: Log) -> None:
        self._tell("validating")
        found = asyncio.run(
            validate(
                self.parts.sampler,
                self.problems,
                metric=self.recipe.reward.metric,
                step=self.steps_done,
                processes=self.processes,
            )
        )
        log.add(found)
        self.state = dataclasses.replace(self.state, first=self.state.first or found, last=found)
        self._tell("validated")
        best = self.checkpoints.best_mark
        if self.processes.leads and (best is None or found.mean > best.score):
            self.checkpoints.mark_best(self.steps_done, found.mean)

    def _checkpoint(self) -> None:
        """Before a validation in any case: a kill during it costs no step, and the best must be there."""
        due = self.steps_done % self.recipe.output.checkpoint == 0 or self._validates(self.steps_done)
        if due and (self.processes.leads or self.parts.policy.sharded):
            saved = Saved.of(self.parts.learner, steps_done=self.steps_done)
            if self.processes.leads:
                self.checkpoints.save(saved)
        self.processes.wait()

    def _export(self) -> None:
        """The adapter (or all weights) that validated best, or the last where nothing was validated."""
        best = self.checkpoints.best()
        if best is not None:
            best.restore(self.parts.learner)
        if not self.processes.leads:
            self._help_export()
            return
        about = {
            "trained": {
                "kind": self.recipe.kind,
                "steps": self.steps_done if best is None else best.steps_done,
                "tasks": sorted({source.task for source in self.recipe.data}),
                "adapter": self.recipe.base.adapter,
            },
            **self.recipe.output.reads.told(),
        }
        told = card(self.parts.source, self.parts.plan, about)
        if self.recipe.tuning.rank:
            write_adapter(self.parts.policy, self.folder / ADAPTER, told, dtype=self.recipe.output.adapter_type)
        else:
            write_merged(self.parts.policy, self.parts.source, self.folder / MERGED, told)

    def _help_export(self) -> None:
        """Give this process's parts of what the one that leads writes, in the same order."""
        policy = self.parts.policy
        for _ in policy.adapter_weights() if policy.tuning.rank else policy.merged_weights():
            pass

    def _draw(self, log: Log) -> None:
        if self.processes.leads:
            draw_run(log.records, self.folder / CURVE)

    def _tell(self, now: str, **changes: object) -> None:
        self.state = dataclasses.replace(self.state, **{"now": now, "share": 0.0, **changes})  # type: ignore[arg-type]
        self.on_state(self.state)


def _batch(recipe: Recipe) -> int:
    """Problems that a step draws: a warm start's are as many as give its conversations, and a few more."""
    return recipe.rollouts.problems if recipe.kind == "rl" else max(8, recipe.warm_start.conversations // 2)


def _first(log: Log) -> ValidationMetrics | None:
    return next(iter(log.validations), None)


def _last(log: Log) -> ValidationMetrics | None:
    return log.validations[-1] if log.validations else None
