"""One policy over several processes, each with a part of every weight (FSDP2), and whole tensors made of parts.

To make one is a common act: every process asks for the same tensors in the same order. It does not know what is learnt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: Any, blocks: Iterable[Any]) -> None:
    """Leave each process its part of the weights of `module`, in place; `blocks` are gathered one at a time.

    Gradients are added up over processes, as each loss is this process's part of a sum.
    """
    from torch.distributed.fsdp import fully_shard

    parts = [*blocks, module]
    for part in parts:
        # The outermost is given up after its pass, too: weights may be exchanged before the next.
        fully_shard(part, reshard_after_forward=True)
    for part in parts:
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of which `tensor` is this process's part, if it is one."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of a whole `tensor`, the part that this process holds of `other`, which has the same shape; nothing is sent."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    placed = tensor.to(other.device, other.dtype)
    return distribute_tensor(placed, other.device_mesh, other.placements, src_data_rank=None)
