"""What a training run does, pinned in a TOML file: model, data, reward, rollouts, objective, learner, validation.

A recipe that was written can be run again, and a run is resumed only with the recipe it began with. It does not know
how any of it is done.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from memagent import __version__
from memagent.errors import InputError, OptionError
from memagent.reading import Settings
from memagent.recipes import read_toml, toml, typed, write_toml
from memagent.training.advantages import NORMALISATIONS, Advantages
from memagent.training.learner import LearnerSettings
from memagent.training.objective import Objective
from memagent.training.policy import Tuning
from memagent.training.rewards import RewardSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The weights to begin with: `name` as `--model local:NAME` takes it, and an adapter to go on from (or none)."""

    name: str = "smollm2-135m"
    adapter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One part of the mixture.

    `task` is one of RULER's, `prose`, `hotpotqa`, `2wiki`, `musique`, `squad`, `nq`, or `file` for problems in `file`
    (in any format that `memagent eval` reads; for the datasets also `hub:OWNER/NAME`). `tokens` are lengths to draw
    from, of which those up to the curriculum's bound are used; `documents` is the other way to say a length. `weight`
    is its share of the mixture. `file` and `paragraphs` name data on disk. `haystack` is a text to hide needles in
    (empty: the docstrings of Python's library); with `anywhere` it begins at a drawn place of it. `metric` scores its
    answers (empty: the task's own), where `[reward]` names none.
    """

    task: str
    tokens: tuple[int, ...] = ()
    documents: tuple[int, ...] = ()
    weight: float = 1.0
    file: str = ""
    paragraphs: str = ""
    haystack: str = ""
    anywhere: bool = False
    split: Literal["train", "dev", "all"] = "train"
    metric: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """The longest length at the start, and the step by which all lengths are drawn from (0: from the start)."""

    first: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """How experience is sampled.

    A batch is `problems` groups of `group` rollouts, learnt in `updates` mini-batches, one epoch. `refills` bounds how
    often groups without different rewards are drawn again (dynamic sampling; 0: they are kept and teach nothing).
    `cut_off` says what becomes of turns that reached their limit: `keep` them, or `mask` them out of the loss.
    """

    problems: int = 128
    group: int = 16
    updates: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    refills: int = 0
    cut_off: Literal["keep", "mask"] = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Greedy readings of `problems` fixed problems of the mixture `data` (empty: the training mixture's, other seeds)
    at the start, every `every` steps, and at the end; the best checkpoint by the mean score is kept."""

    problems: int = 128
    every: int = 10
    data: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Supervised steps on trajectories of oracles: `conversations` a step, of which the share `changes` changes the
    memory or answers.

    Each section is shown to `crossed` other problems besides, which it does not help; such turns share its
    computation. At the share `astray` of chunks that hold nothing the oracle errs and adds a sentence: not to be
    imitated, but what it does with such a memory is. `reply` says how it changes the gated protocol's memory.
    With `balance` half of the loss is what is said, a quarter that what is to be kept is kept, and a quarter that what
    is to be changed is changed; else every token weighs the same.
    """

    conversations: int = 64
    changes: float = 0.5
    crossed: int = 0
    astray: float = 0.0
    reply: Literal["add", "write"] = "add"
    balance: bool = False

    def check(self) -> None:
        """Raise OptionError where a value makes no sense."""
        _positive("[warm_start] ", {"conversations": self.conversations})
        if not 0 < self.changes < 1:
            raise OptionError("[warm_start] changes is a share between 0 and 1")
        if self.crossed < 0 or not 0 <= self.astray < 1:
            raise OptionError("[warm_start] crossed must be 0 or more, and astray a share below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """How what was learnt is to be read with, as far as that is chosen behind the training (`reading.Settings`).

    The card of the adapter says so, and readers follow it; None says nothing.
    """

    gate: float | None = None
    verbatim: bool | None = None
    confirm: bool | None = None
    sift: float | None = None
    reread: bool | None = None

    def told(self) -> dict[str, Any]:
        """Those that say something."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a run writes; none of it changes what is learnt.

    A checkpoint is written every `checkpoint` steps, `keep` of them are kept besides the best. `part_mib` bounds its
    files and the adapter's (0: 256 MiB, and no bound). `adapter_type` is that of the adapter's numbers, `reads` what
    its card tells readers beside protocol and sizes.
    """

    checkpoint: int = 1
    keep: int = 2
    part_mib: int = 0
    adapter_type: Literal["fp32", "bf16", "fp16"] = "fp32"
    reads: Reads = field(default_factory=Reads)

    @property
    def part_bytes(self) -> int | None:
        """The bound in bytes, if there is one."""
        return self.part_mib * 2**20 or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run of `steps` steps: `kind` rl (Multi-Conv DAPO) or warm-start (supervised)."""

    kind: Literal["rl", "warm-start"] = "rl"
    steps: int = 400
    seed: int = 0
    output: Output = field(default_factory=Output)
    base: Base = field(default_factory=Base)
    tuning: Tuning = field(default_factory=Tuning)
    reading: Settings = field(default_factory=Settings)
    data: tuple[Source, ...] = ()
    curriculum: Curriculum = field(default_factory=Curriculum)
    reward: RewardSettings = field(default_factory=RewardSettings)
    rollouts: Rollouts = field(default_factory=Rollouts)
    advantages: Advantages = field(default_factory=Advantages)
    objective: Objective = field(default_factory=Objective)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    warm_start: WarmStart = field(default_factory=WarmStart)
    validation: Validation = field(default_factory=Validation)
    version: str = __version__

    def check(self) -> None:
        """Raise OptionError where values make no sense by themselves or together."""
        self.tuning.check()
        self.reward.check()
        self.learner.check()
        self.objective.check()
        self.warm_start.check()
        if not self.data:
            raise OptionError("the recipe names no [[data]]")
        _positive("", {"steps": self.steps})
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed must be a number from 0 to 2**63 - 1, not {self.seed}")
        _positive("[output] ", {"checkpoint": self.output.checkpoint, "keep": self.output.keep})
        if self.output.part_mib < 0:
            raise OptionError(f"[output] part_mib must be 0 or more, not {self.output.part_mib}")
        rollouts = self.rollouts
        _positive("[rollouts] ", {"problems": rollouts.problems, "updates": rollouts.updates})
        if rollouts.group < 2:
            raise OptionError(f"[rollouts] group must be at least 2, not {rollouts.group}: rewards are compared in it")
        if rollouts.problems % rollouts.updates:
            raise OptionError(
                f"[rollouts] problems ({rollouts.problems}) must be a multiple of updates ({rollouts.updates})"
            )
        if not 0 < rollouts.temperature < math.inf:
            raise OptionError("[rollouts] temperature must be above 0: rollouts are sampled")
        if rollouts.refills < 0 or self.validation.problems < 0:
            raise OptionError("[rollouts] refills and [validation] problems must be 0 or more")
        _positive("[validation] ", {"every": self.validation.every})
        if self.advantages.normalisation not in NORMALISATIONS:
            raise OptionError(f"[advantages] normalisation must be one of {', '.join(NORMALISATIONS)}")
        for source in (*self.data, *self.validation.data):
            _check_source(source)

    @classmethod
    def read(cls, path: Path, changes: Sequence[str] = ()) -> Recipe:
        """The recipe in a TOML file, with `changes` such as `learner.lr=1e-5` made to it.

        Raises:
            InputError: it cannot be read, or has a field or a value that no recipe has.
        """
        record = read_toml(path)
        for change in changes:
            _set(record, change)
        return typed(cls, record, str(path))

    def difference(self, other: Recipe) -> str | None:
        """The first field in which the two would not be the same run; None where they would."""
        mine, theirs = self._bound(), other._bound()
        return next((name for name in mine if mine[name] != theirs[name]), None)

    def _bound(self) -> dict[str, Any]:
        """All but what may change when a run goes on."""
        plain = dataclasses.asdict(self)
        for name in ("version", "steps", "output"):
            del plain[name]
        del plain["validation"]["every"]
        return plain

    def text(self) -> str:
        """The recipe as TOML, every field resolved."""
        return write_toml(dataclasses.asdict(self))


def _positive(where: str, values: dict[str, int]) -> None:
    for name, value in values.items():
        if value < 1:
            raise OptionError(f"{where}{name} must be at least 1, not {value}")


def _check_source(source: Source) -> None:
    if not 0 < source.weight < math.inf:
        raise OptionError(f"[[data]] {source.task}: weight must be above 0, not {source.weight}")
    if any(length < 1 for length in (*source.tokens, *source.documents)):
        raise OptionError(f"[[data]] {source.task}: lengths must be at least 1")
    if source.tokens and source.documents:
        raise OptionError(f"[[data]] {source.task}: give tokens or documents, not both")


def _set(record: dict[str, Any], change: str) -> None:
    """`a.b=value`, the value as TOML writes it; what is no TOML is text."""
    path, equals, value = change.partition("=")
    *tables, name = path.strip().split(".")
    if not equals or not name:
        raise InputError(f"--set {change}: write KEY=VALUE, as learner.lr=1e-5")
    try:
        found = toml().loads(f"value = {value}")["value"]
    except ValueError:
        found = value.strip()
    table = record
    for one in tables:
        table = table.setdefault(one, {})
        if not isinstance(table, dict):
            raise InputError(f"--set {change}: {one} is no table of the recipe")
    table[name] = found
