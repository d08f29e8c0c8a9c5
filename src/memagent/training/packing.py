"""Micro-batches: conversations laid out so that what they share is computed once, forward and backward.

A *tree* is a prefix with branches: `[prefix][branch 1][branch 2]…`, one row of a batch. A branch sees the prefix and
itself, at the positions it would have alone, so that losses and gradients are those of the plain computation. Layouts
are of few sizes, as each new one costs a compilation. It does not know models or losses.

Shapes: B rows, S columns, T sampled tokens of the micro-batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memagent.models.engines.rows import bucket
from memagent.training.advantages import Row

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Tree:
    """Rows that share `prefix` (empty: one row by itself)."""

    prefix: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def columns(self) -> int:
        """Ids that are computed: the last one of each completion predicts nothing."""
        own = (row.conversation.length - 1 for row in self.rows)
        return len(self.prefix) + sum(own) - len(self.rows) * len(self.prefix)

    @property
    def plain_columns(self) -> int:
        """Ids that would be computed if nothing were shared."""
        return self.columns + (len(self.rows) - 1) * len(self.prefix)


@dataclass(frozen=True, slots=True)
class Layout:
    """A micro-batch as tensors.

    `ids`, `positions` (B, S); `branches` (B, S), 0 for a prefix, 1… for its branches, -1 for padding, or None where
    nothing is shared; `places` (T,), flat indices into B · S of the positions that predict; `targets`,
    `advantages`, `weights`, `sampler` (T,). `rows` are in the order of the tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    branches: torch.Tensor | None
    places: torch.Tensor
    targets: torch.Tensor
    advantages: torch.Tensor
    weights: torch.Tensor
    sampler: torch.Tensor
    rows: tuple[Row, ...]

    def mask(self) -> torch.Tensor | None:
        """(B, 1, S, S), true where a column (last axis) is seen; None where plain causal attention is the same.

        A column is seen by itself and by later ones of its branch, and a prefix by all later ones. It is made when it
        is used, as it is a square.
        """
        import torch

        if self.branches is None:
            return None
        seen = (self.branches[:, None, :] == self.branches[:, :, None]) | (self.branches[:, None, :] == 0)
        size = seen.shape[-1]
        return (seen & torch.ones(size, size, dtype=torch.bool, device=seen.device).tril())[:, None]


def trees(rows: Sequence[Row], *, share: bool, most_columns: int) -> list[Tree]:
    """Rows with the same prefix in one tree, as long as its columns are at most `most_columns`; others alone."""
    groups: dict[tuple[int, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.conversation.prefix if share else ()].append(row)
    alone = [Tree((), (row,)) for row in groups.pop((), [])]
    return alone + [tree for prefix, same in groups.items() for tree in _parted(prefix, same, most_columns)]


def _parted(prefix: tuple[int, ...], same: list[Row], most_columns: int) -> Iterator[Tree]:
    """A prefix that is no one else's is no prefix: one row alone needs no mask."""
    taken: list[Row] = []
    for row in same:
        if taken and Tree(prefix, (*taken, row)).columns > most_columns:
            yield Tree(prefix if len(taken) > 1 else (), tuple(taken))
            taken = []
        taken.append(row)
    yield Tree(prefix if len(taken) > 1 else (), tuple(taken))


def micro_batches(found: Sequence[Tree], *, most_columns: int) -> list[list[Tree]]:
    """Trees of like sizes together, at most `most_columns` with padding (one tree may have more by itself)."""
    batches: list[list[Tree]] = []
    for tree in sorted(found, key=lambda tree: (bool(tree.prefix), tree.columns), reverse=True):
        last = batches[-1] if batches else []
        # The first of a batch is its longest.
        width = bucket(last[0].columns) if last else 0
        if last and bool(last[0].prefix) == bool(tree.prefix) and width * (len(last) + 1) <= most_columns:
            last.append(tree)
        else:
            batches.append([tree])
    return batches


def lay_out(batch: Sequence[Tree], *, device: torch.device | str = "cpu") -> Layout:
    """A micro-batch as tensors on `device`; an empty one is a row of padding that predicts nothing."""
    import torch

    shape = (max(1, len(batch)), bucket(max((tree.columns for tree in batch), default=1)))
    width = shape[1]
    ids = torch.zeros(shape, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    branches = torch.full(shape, -1, dtype=torch.long)
    places: list[int] = []
    for number, tree in enumerate(batch):
        row_ids, row_positions, row_branches, row_places = _columns(tree)
        ids[number, : len(row_ids)] = torch.tensor(row_ids)
        positions[number, : len(row_ids)] = torch.tensor(row_positions)
        branches[number, : len(row_ids)] = torch.tensor(row_branches)
        places += [number * width + place for place in row_places]
    rows = tuple(row for tree in batch for row in tree.rows)
    lengths = torch.tensor([len(row.conversation.completion) for row in rows], dtype=torch.long)
    targets = [one for row in rows for one in row.conversation.completion]
    sampler = [one for row in rows for one in row.conversation.logprobs]
    return Layout(
        ids=ids.to(device),
        positions=positions.to(device),
        branches=branches.to(device) if any(tree.prefix for tree in batch) else None,
        places=torch.tensor(places, dtype=torch.long, device=device),
        targets=torch.tensor(targets, dtype=torch.long, device=device),
        advantages=_spread([row.advantage for row in rows], lengths).to(device),
        weights=_weights(rows, lengths).to(device),
        sampler=torch.tensor(sampler, dtype=torch.float32, device=device),
        rows=rows,
    )


def _columns(tree: Tree) -> tuple[list[int], list[int], list[int], list[int]]:
    """Ids, positions and branches of a tree's columns, and the columns that predict."""
    start = len(tree.prefix)
    ids, positions, branch = list(tree.prefix), list(range(start)), [0] * start
    places: list[int] = []
    for number, row in enumerate(tree.rows, start=1):
        own = row.conversation.prompt[start:]
        first = len(ids) + len(own) - 1
        ids += [*own, *row.conversation.completion[:-1]]
        positions += range(start, start + len(ids) - len(positions))
        branch += [number] * (len(ids) - len(branch))
        places += range(first, first + len(row.conversation.completion))
    return ids, positions, branch, places


def _weights(rows: Sequence[Row], lengths: torch.Tensor) -> torch.Tensor:
    weights = _spread([row.weight for row in rows], lengths)
    for place, row in zip((lengths.cumsum(0) - lengths).tolist(), rows, strict=True):
        weights[place] = row.weight if row.first is None else row.first
    return weights


def _spread(values: list[float], lengths: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.repeat_interleave(torch.tensor(values, dtype=torch.float32), lengths)
