"""Checkpoints: a folder a step with all that going on needs, whole and checked by hashes, or not at all.

The position in the data is the number of steps done, as data is a function of the step. It does not know recipes,
rewards or screens.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch.utils._pytree import tree_map

from memagent.errors import InputError, OptionError
from memagent.models.pull import file_hash
from memagent.training.folders import discard, new_folder, recover, sweep, write_file
from memagent.training.learner import Learner
from memagent.training.sharding import part_like, whole
from memagent.training.tensor_files import (
    USUAL_PART,
    check_part_bytes,
    flatten,
    read_parts,
    unflatten,
    write_parts,
)

FORMAT = 1
STATE, MANIFEST, BEST = "state.json", "manifest.json", "best.json"
# The fields of `Saved` that hold tensors; each has its own series of files.
_WITH_TENSORS = ("weights", "optimizer", "reference", "random")
_HINT = "what was saved before is intact: free some space and go on with --resume"


def random_states() -> dict[str, Any]:
    """The states of this process's shared random generators."""
    return {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random(states: Mapping[str, Any]) -> None:
    """Set the generators to what `random_states` gave; states of GPUs that there are not are left out."""
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    for device, state in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
        torch.cuda.set_rng_state(state, device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a checkpoint holds.

    `weights` are the trained parameters by name and in the optimizer's order, `optimizer` its `state_dict()`,
    `counters` numbers that go on counting, `reference` the weights that the KL is measured against where they cannot
    be had from the start. Every tensor, int and float comes back bit for bit.
    """

    steps_done: int
    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    counters: Mapping[str, int | float] = field(default_factory=dict)
    reference: Mapping[str, torch.Tensor] | None = None
    random: Mapping[str, Any] = field(default_factory=random_states)

    @classmethod
    def of(
        cls,
        learner: Learner,
        *,
        steps_done: int,
        reference: Mapping[str, torch.Tensor] | None = None,
        counters: Mapping[str, int | float] | None = None,
    ) -> Saved:
        """What a learner is now. Its tensors are not copied: save it before the next update.

        Where weights are sharded every process asks for it, and the one that leads has whole tensors on the CPU.
        """
        weights = {name: parameter.detach() for name, parameter in learner.policy.trained.items()}
        optimizer = learner.optimizer.state_dict()
        if learner.policy.sharded:
            kept = learner.processes.leads
            weights, optimizer, reference = tree_map(partial(_gathered, kept=kept), (weights, optimizer, reference))
        return cls(
            steps_done=steps_done,
            weights=weights,
            optimizer=optimizer,
            counters={
                **(counters or {}),
                "updates": learner.steps,
                "skipped": learner.skipped,
                "skipped_in_a_row": learner.skipped_in_a_row,
            },
            reference=reference,
        )

    def restore(self, learner: Learner) -> None:
        """Make a learner, and this process's random generators, what they were.

        Raises:
            InputError: it trains other parameters than the one that was saved.
        """
        trained = learner.policy.trained
        own, ours = ([(name, tuple(one.shape)) for name, one in held.items()] for held in (trained, self.weights))
        if own != ours:
            raise InputError(f"the checkpoint of step {self.steps_done} is of another model or another [tuning]")
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(part_like(self.weights[name], parameter))
        learner.optimizer.load_state_dict(self._optimizer_of(list(trained.values())))
        learner.steps, learner.skipped = int(self.counters["updates"]), int(self.counters["skipped"])
        learner.skipped_in_a_row = int(self.counters.get("skipped_in_a_row", 0))  # not there in the first ones
        restore_random(self.random)

    def _optimizer_of(self, parameters: Sequence[torch.Tensor]) -> dict[str, Any]:
        """A copy of the optimizer's state, as it would keep what it is given; of each tensor this process's part."""
        record = copy.deepcopy(dict(self.optimizer))
        for number, state in record["state"].items():
            for name, value in state.items():
                state[name] = part_like(value, parameters[number]) if isinstance(value, torch.Tensor) else value
        return record


def _gathered(value: Any, *, kept: bool) -> Any:
    """A tensor made whole, on the CPU where it is `kept`; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    found = whole(value)
    return found.cpu() if kept else torch.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Which checkpoint validated best, and its score."""

    steps_done: int
    score: float


class Checkpoints:
    """The checkpoints of one run, in `folder`: the `keep` newest and the best. One process may save at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: int = 2,
        part_bytes: int | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        """Tensors go into files of at most `part_bytes`; `report` is told in a line what is damaged.

        Raises:
            OptionError: parts are too small, or nothing is kept.
        """
        self._part_bytes = USUAL_PART if part_bytes is None else part_bytes
        check_part_bytes(self._part_bytes)
        if keep < 1:
            raise OptionError(f"at least one checkpoint must be kept, not {keep}")
        self.folder, self._keep = folder, keep
        self._report = report or (lambda line: None)

    def save(self, saved: Saved) -> Path:
        """Write a checkpoint, in place of one of the same step; then delete those that are no longer kept.

        Later ones are deleted, too: they are damaged, or the run went on from before them.

        Raises:
            StoppedError: it cannot be written; all checkpoints from before are intact.
        """
        recover(self.folder)
        sweep(self.folder)
        target = self._path(saved.steps_done)
        with new_folder(target, hint=_HINT) as unfinished:
            _write(unfinished, saved, self._part_bytes)
        self._prune(saved.steps_done)
        return target

    def mark_best(self, steps_done: int, score: float) -> None:
        """Note that the checkpoint of this step, which is there, validated best so far: it is kept.

        Raises:
            StoppedError: that cannot be written; the best from before still is.
        """
        if not self._path(steps_done).is_dir():
            raise ValueError(f"there is no checkpoint of step {steps_done}")
        text = json.dumps({"steps_done": steps_done, "score": score})
        write_file(self.folder / BEST, text, hint=_HINT)

    def newest(self) -> Saved | None:
        """The newest checkpoint that is intact; None where there is none at all.

        Those after it are damaged. If the best was among them, none is marked as the best any more.

        Raises:
            InputError: there are some, and all are damaged.
        """
        recover(self.folder)
        marked, numbers = self.best_mark, sorted(self._numbers(), reverse=True)
        for number in numbers:
            found = self._read(number, "the one before it is taken")
            if found is not None:
                return found
            if marked is not None and marked.steps_done == number:
                self._forget_best()
        if numbers:
            raise InputError(f"every checkpoint in {self.folder} is damaged: begin again in another folder")
        return None

    def best(self) -> Saved | None:
        """The checkpoint that validated best; None where none was marked, or it is damaged (and marked no longer)."""
        recover(self.folder)
        marked = self.best_mark
        found = None if marked is None else self._read(marked.steps_done, "the best so far is lost")
        if found is None:
            self._forget_best()
        return found

    @property
    def best_mark(self) -> Best | None:
        """What `mark_best` noted last."""
        path = self.folder / BEST
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return Best(steps_done=int(record["steps_done"]), score=float(record["score"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._report(f"{path} is damaged ({_reason(error)}): which checkpoint was best is not known")
            return None

    def _forget_best(self) -> None:
        (self.folder / BEST).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"step-{number:06}"

    def _numbers(self) -> list[int]:
        names = (re.fullmatch(r"step-(\d+)", path.name) for path in self.folder.glob("step-*") if path.is_dir())
        return sorted(int(name[1]) for name in names if name)

    def _prune(self, newest: int) -> None:
        numbers, marked = self._numbers(), self.best_mark
        kept = {number for number in numbers if number <= newest}
        kept = set(sorted(kept)[-self._keep :]) | ({marked.steps_done} if marked else set())
        for number in numbers:
            if number not in kept:
                discard(self._path(number))

    def _read(self, number: int, consequence: str) -> Saved | None:
        path = self._path(number)
        try:
            return _read(path, number)
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, safetensors.SafetensorError,
        ) as error:  # fmt: skip
            self._report(f"the checkpoint {path} is damaged ({_reason(error)}): {consequence}")
            return None


def _write(folder: Path, saved: Saved, part_bytes: int) -> None:
    state: dict[str, Any] = {"counters": flatten(saved.counters, {})}
    for name in _WITH_TENSORS:
        tensors: dict[str, torch.Tensor] = {}
        state[name] = flatten(getattr(saved, name), tensors)
        write_parts(folder, name, tensors, part_bytes)
    (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "steps_done": saved.steps_done,
        "files": {path.name: file_hash(path) for path in sorted(folder.iterdir())},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _read(folder: Path, number: int) -> Saved:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if (manifest["format"], manifest["steps_done"]) != (FORMAT, number):
        raise ValueError(f"it is of step {manifest['steps_done']} in format {manifest['format']}")
    for name, digest in manifest["files"].items():
        if file_hash(folder / name) != digest:
            raise ValueError(f"{name} has changed")
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    held = {name: unflatten(state[name], read_parts(folder, name)) for name in _WITH_TENSORS}
    return Saved(steps_done=number, counters=unflatten(state["counters"], {}), **held)


def _reason(error: BaseException) -> str:
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__
