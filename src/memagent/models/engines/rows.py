"""Rows of different lengths in one batch: padding, positions, joining, leaving, and drawing tokens.

Shapes: keys and values of a layer are (rows, heads, columns, width); a mask is (rows, columns), true
where a row has a token. Padding may stand anywhere: positions are counted along the mask. It does not
know a model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memagent.models.engines.base import Job, Output

if TYPE_CHECKING:
    import torch

    from memagent.models.engines.growing import GrowingLayer

    Layers = list[GrowingLayer]


@dataclass(slots=True)
class Row:
    """One job under way: its key, what was drawn so far, and its own source of randomness."""

    key: int
    job: Job
    cached: int = 0
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.job.sampling.seed)

    def output(self, end_ids: frozenset[int]) -> Output | None:
        """What it came to, or None while it goes on."""
        last = self.tokens[-1]
        stopped = last in end_ids or (len(self.tokens) == 1 and last == self.job.stop_after)
        if not stopped and len(self.tokens) < self.job.max_tokens:
            return None
        return Output(
            token_ids=tuple(self.tokens),
            logprobs=tuple(self.logprobs) if self.job.logprobs else None,
            finish="stop" if stopped else "length",
            cached_tokens=self.cached,
        )


@dataclass(slots=True)
class Rows:
    """Rows that decode together, their attention states and which columns are theirs."""

    rows: list[Row]
    layers: Layers
    mask: torch.Tensor

    def joined(self, other: Rows) -> Rows:
        """Both in one batch; the one with fewer columns is padded on the left."""
        import torch

        width = max(self.mask.shape[1], other.mask.shape[1])
        layers = [_stacked([one, two], width) for one, two in zip(self.layers, other.layers, strict=True)]
        masks = [torch.nn.functional.pad(part.mask, (width - part.mask.shape[1], 0)) for part in (self, other)]
        return Rows(self.rows + other.rows, layers, torch.cat(masks)).only(self.rows + other.rows)

    def only(self, rows: list[Row]) -> Rows:
        """These rows alone, without the columns that only the others used."""
        keys = {row.key for row in rows}
        chosen = [i for i, row in enumerate(self.rows) if row.key in keys]
        mask = self.mask[chosen]
        used = mask.any(dim=0)
        if len(chosen) == len(self.rows) and bool(used.all()):
            return self
        layers = [_picked(layer, chosen, used) for layer in self.layers]
        return Rows([self.rows[i] for i in chosen], layers, mask[:, used])


def bucket(length: int) -> int:
    """`length` rounded up to one of a few, at most an eighth longer: each new shape costs a compilation."""
    step = max(16, 1 << max(0, length.bit_length() - 4))
    return -(-length // step) * step


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Each column's position in its row, counting only the row's own columns; padding gets any."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)


def pad_left(states: Sequence[Layers], *, device: torch.device) -> tuple[Layers, torch.Tensor]:
    """One row per state, stacked with padding on the left to a bucketed width, and their mask."""
    import torch

    lengths = [state[0].keys.shape[2] if state else 0 for state in states]
    if not any(lengths):
        return [], torch.zeros(len(states), 0, dtype=torch.bool, device=device)
    width = bucket(max(lengths))
    layers = [_stacked(layer, width) for layer in zip(*states, strict=True)]
    columns = torch.arange(width, device=device)
    starts = torch.tensor([[width - length] for length in lengths], device=device)
    return layers, columns[None] >= starts


def draw(logits: torch.Tensor, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """A token a row from `logits` (rows, vocabulary), and its log-probability.

    The log-probability is of the whole vocabulary under the row's temperature (1 where it is greedy),
    before top_p cuts it, as the learner computes it.
    """
    import torch

    heat = [row.job.sampling.temperature for row in rows]
    scale = torch.tensor([[t or 1.0] for t in heat], device=logits.device)
    logprobs = (logits / scale).log_softmax(dim=-1)
    tokens = logits.argmax(dim=-1)
    sampled = [i for i, t in enumerate(heat) if t > 0]
    if sampled:
        pairs = [[rows[i].job.sampling.top_p, rows[i].random.random()] for i in sampled]
        limits, points = torch.tensor(pairs, dtype=torch.float64, device=logits.device)[:, :, None].unbind(1)
        tokens[sampled] = _sample(logprobs[sampled].double().exp(), limits, points)
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    return tokens.tolist(), chosen.tolist()


def _sample(probabilities: torch.Tensor, top_p: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Inverse transform sampling in the nucleus: `points` in [0, 1), each argument a row a row."""
    import torch

    if bool((top_p < 1).any()):
        ordered, order = probabilities.sort(dim=-1, descending=True)
        ordered = ordered * (ordered.cumsum(dim=-1) - ordered < top_p)
    else:
        ordered, order = probabilities, None
    mass = ordered.cumsum(dim=-1)
    index = torch.searchsorted(mass, points * mass[:, -1:], right=True)
    last = (mass < mass[:, -1:]).sum(dim=-1, keepdim=True)  # rounding must not lead behind the nucleus
    index = torch.minimum(index, last)
    return (index if order is None else order.gather(1, index))[:, 0]


def _widen(state: torch.Tensor, width: int) -> torch.Tensor:
    import torch

    return torch.nn.functional.pad(state, (0, 0, width - state.shape[2], 0))


def _stacked(layers: Sequence[GrowingLayer], width: int) -> GrowingLayer:
    """The rows of all in one, padded on the left to `width` columns."""
    import torch

    from memagent.models.engines.growing import GrowingLayer

    keys = torch.cat([_widen(layer.keys, width) for layer in layers])
    return GrowingLayer(keys, torch.cat([_widen(layer.values, width) for layer in layers]))


def _picked(layer: GrowingLayer, rows: list[int], columns: torch.Tensor) -> GrowingLayer:
    from memagent.models.engines.growing import GrowingLayer

    return GrowingLayer(layer.keys[rows][:, :, columns], layer.values[rows][:, :, columns])
