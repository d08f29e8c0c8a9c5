"""The copy of the policy that samples: a local model in bf16 whose weights follow those that learn.

Its batches do not depend on timing (`lockstep`). It does not know rollouts or rewards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from memagent.models.engines.torch import TorchBackend
from memagent.models.local import LocalModel
from memagent.models.tokenizers import HubTokenizer
from memagent.training.lockstep import LockstepEngine


class Actor:
    """`model` is what a reader takes; `taking_part` surrounds each of its readings."""

    def __init__(
        self,
        module: Any,
        tokenizer: HubTokenizer,
        *,
        name: str,
        window: int,
        end_ids: Sequence[int],
        rows: int,
        suggests: Mapping[str, str | float] | None = None,
    ) -> None:
        """`module` is a causal model of transformers, the actor's own; at most `rows` prompts decode together."""
        self._module = module.eval()
        self._end_ids, self._rows = tuple(end_ids), rows
        self._engine = LockstepEngine(self._backend())
        identity = {"kind": "policy", "model": name}
        self.model = LocalModel(self._engine, tokenizer, name=name, window=window, identity=identity, suggests=suggests)

    def _backend(self) -> TorchBackend:
        return TorchBackend(self._module, end_ids=self._end_ids, rows=self._rows)

    @property
    def taking_part(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """See `LockstepEngine.reading`."""
        return self._engine.reading

    def follow(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Take over weights by name, between two rounds of sampling; states of the old ones are forgotten."""
        own = dict(self._module.named_parameters())
        with torch.no_grad():
            for name, value in weights:
                own[name].copy_(value)
        self._engine.exchange(self._backend())

    def close(self) -> None:
        """End its thread."""
        self._engine.close()
