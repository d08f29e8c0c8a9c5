"""One torch module: ids in, log-probabilities of the sampled tokens out. What is sharded over processes is this.

Logits are made at the positions that predict, and nowhere else. It does not know rewards or adapters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

LOGIT_ROWS = 512  # positions whose logits are in memory at once


class Scorer(torch.nn.Module):  # type: ignore[misc]
    """`model` is a causal model of transformers; with `bf16` it computes in bf16 under weights of any precision."""

    def __init__(self, model: Any, *, bf16: bool) -> None:
        super().__init__()
        self.model = model
        self._bf16 = bf16

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        places: torch.Tensor,
        targets: torch.Tensor,
        temperature: float = 1.0,
    ) -> torch.Tensor:
        """Log-probabilities (T,) in nats, 32 bits, of logits / `temperature`; shapes as in `packing.Layout`."""
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            hidden = self.model.get_decoder()(
                input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False
            ).last_hidden_state
            picked = hidden.flatten(0, 1)[places]
            parts = [
                self._picked_logprobs(picked[at : at + LOGIT_ROWS], targets[at : at + LOGIT_ROWS], temperature)
                for at in range(0, max(1, len(targets)), LOGIT_ROWS)
            ]
        return torch.cat(parts)

    def _picked_logprobs(self, hidden: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
        if torch.is_grad_enabled():
            # Logits of a large vocabulary are made again in the backward pass rather than kept.
            return checkpoint(self._logprobs, hidden, targets, temperature, use_reentrant=False)
        return self._logprobs(hidden, targets, temperature)

    def _logprobs(self, hidden: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
        logits = self.model.get_output_embeddings()(hidden).float() / temperature
        return -functional.cross_entropy(logits, targets, reduction="none")
