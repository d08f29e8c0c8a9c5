"""Costs of each method at each length, and from which length on reading with a memory is cheaper than all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memagent.errors import OptionError
from memagent.evaluation.cost.architecture import Architecture
from memagent.evaluation.cost.flops import paper_dense, paper_reading
from memagent.evaluation.cost.methods import METHODS, Sizes, Work
from memagent.models.base import Price

LONGEST = 2**26  # tokens up to which a crossing is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What computes: operations a second in 16 bits, bytes a second from its memory, and bytes of that memory.

    `utilisation` is the share of the operations that prompts reach in practice.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float
    utilisation: float = 0.5

    def seconds(self, work: Work) -> float:
        """Prompts are bound by arithmetic, decoding by arithmetic or by reading the weights, whichever takes longer."""
        speed = self.flops * self.utilisation
        return work.prefill_flops / speed + max(work.decode_flops / speed, work.decode_bytes / self.bandwidth)


# By their data sheets, dense bf16.
DEVICES: Mapping[str, Device] = {
    device.name: device
    for device in (
        Device(name="h200", flops=989e12, bandwidth=4.8e12, memory=141e9),
        Device(name="h100", flops=989e12, bandwidth=3.35e12, memory=80e9),
        Device(name="a100", flops=312e12, bandwidth=2.04e12, memory=80e9),
        Device(name="l40s", flops=362e12, bandwidth=0.864e12, memory=48e9),
        Device(name="rtx4090", flops=165e12, bandwidth=1.01e12, memory=24e9),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method at one length. `usd` is None without a price; `memory` is weights and state in bytes."""

    tokens: int
    method: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    flops: float
    seconds: float
    usd: float | None
    memory: float
    context: int
    fits_window: bool
    fits_memory: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """All that costs follow from, but for the length. Money comes from `price` a token, else from `usd_per_hour`."""

    model: Architecture
    sizes: Sizes
    device: Device
    price: Price | None = None
    usd_per_hour: float | None = None

    def row(self, method: str, tokens: int) -> Row:
        """What `method` takes for a document of so many tokens."""
        work = METHODS[method](self.model, self.sizes, tokens)
        memory = float(self.sizes.value_bytes) * (self.model.weights + self.model.state_values * work.resident)
        return Row(
            tokens=tokens,
            method=method,
            calls=work.calls,
            prompt_tokens=work.prompt_tokens,
            cached_tokens=work.cached_tokens,
            completion_tokens=work.completion_tokens,
            flops=work.flops,
            seconds=self.device.seconds(work),
            usd=self._usd(work),
            memory=memory,
            context=work.context,
            fits_window=self.model.window is None or work.context <= self.model.window,
            fits_memory=memory <= self.device.memory,
        )

    def _usd(self, work: Work) -> float | None:
        if self.price is not None:
            return self.price.of(work.prompt_tokens, work.completion_tokens, work.cached_tokens)
        return None if self.usd_per_hour is None else self.device.seconds(work) / 3600 * self.usd_per_hour


def compare(setting: Setting, lengths: Sequence[int]) -> list[Row]:
    """A row for each length and method.

    Raises:
        OptionError: a length or a size is below 1.
    """
    setting.sizes.check()
    if any(length < 1 for length in lengths):
        raise OptionError("--tokens must be at least 1 each")
    return [setting.row(method, length) for length in lengths for method in METHODS]


def crossings(setting: Setting) -> dict[str, dict[str, int | None]]:
    """For `paper` and `gated`: the length from which each takes less of a thing than `dense`, to three digits.

    None where there is no such length up to LONGEST (a price a token does not grow with the square of the length).
    """
    things: dict[str, Callable[[Row], float | None]] = {
        "flops": lambda row: row.flops,
        "seconds": lambda row: row.seconds,
        "memory": lambda row: row.memory,
        "usd": lambda row: row.usd,
    }
    return {
        method: {name: _crossing(setting, method, value) for name, value in things.items()}
        for method in METHODS
        if method != "dense"
    }


def _crossing(setting: Setting, method: str, value: Callable[[Row], float | None]) -> int | None:
    def cheaper(tokens: int) -> bool:
        ours, theirs = value(setting.row(method, tokens)), value(setting.row("dense", tokens))
        return ours is not None and theirs is not None and ours < theirs

    high = 1024
    while not cheaper(high):
        high *= 2
        if high > LONGEST:
            return None
    low = 0 if high == 1024 else high // 2
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if cheaper(middle) else (middle, high)
    return high


def published(model: Architecture, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """The paper's own figures: dense and memory reading by its formulae, which count as training does."""
    return [
        {"tokens": length, "dense": paper_dense(model, length), "reading": paper_reading(model, length)}
        for length in lengths
    ]


def as_json(setting: Setting, lengths: Sequence[int]) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "model": asdict(setting.model) | {"weights": setting.model.weights},
        "sizes": asdict(setting.sizes),
        "device": asdict(setting.device),
        "rows": [asdict(row) for row in compare(setting, lengths)],
        "cheaper_than_dense_from": crossings(setting),
        "paper_formulae": published(setting.model, lengths),
    }
