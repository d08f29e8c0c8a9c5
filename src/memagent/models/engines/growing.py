"""A layer's attention state in a buffer with room: a token more is written into it, and the rest is not copied.

Copying whole states at each step is most of the work where many rows decode behind long prompts. It does not know rows.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 64  # columns that a buffer has to spare when it is made


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """`keys` and `values` (rows, heads, columns, width) are the used part of the buffers; not there at the start."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None) -> None:
        super().__init__()
        if keys is not None:
            self.keys, self.values = keys, values
            self.dtype, self.device = keys.dtype, keys.device
            self.is_initialized = True
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in the states of new columns; all of them."""
        if not self.is_initialized or not self.keys.numel():
            self.keys, self.values = key_states, value_states
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            return self.keys, self.values
        used = self.keys.shape[2]
        width = used + key_states.shape[2]
        if self._buffers is None or width > self._buffers[0].shape[2]:
            self._buffers = _roomy(self.keys, width), _roomy(self.values, width)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, used:width] = states
        self.keys, self.values = (buffer[:, :, :width] for buffer in self._buffers)
        return self.keys, self.values


def _roomy(states: torch.Tensor, width: int) -> torch.Tensor:
    rows, heads, used, size = states.shape
    buffer = states.new_empty(rows, heads, width + ROOM, size)
    buffer[:, :, :used] = states
    return buffer


def cache_of(layers: list[GrowingLayer], count: int) -> Cache:
    """What transformers takes: these layers, or `count` empty ones."""
    return Cache(layers=layers or [GrowingLayer() for _ in range(count)])
