"""The weights that learn: a causal model of transformers, whole or with LoRA matrices.

It gives log-probabilities of layouts (`packing`), and its weights to whoever samples or saves. It does not know
rewards, optimizers or files of checkpoints.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memagent.errors import OptionError, SetupError
from memagent.extras import extra
from memagent.models.adapters import Adapter
from memagent.models.engines.torch import load_model, merge
from memagent.training.packing import Layout
from memagent.training.scorer import Scorer
from memagent.training.sharding import shard, whole

# The linear layers of Llama-like blocks.
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PRECISIONS = ("bf16", "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is trained: LoRA matrices of `rank` and `alpha` on `targets`, or (rank 0) all weights.

    `precision` bf16 computes in bf16 under masters of 32 bits; fp32 computes everything in 32 bits. With `shard` each
    of several processes holds a part of the weights, of their gradients and of the optimizer's state.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = TARGETS
    precision: str = "bf16"
    checkpoint_activations: bool = False
    shard: bool = False

    def check(self) -> None:
        """Raise OptionError where a value makes no sense."""
        if self.rank < 0 or (self.rank and not 0 < self.alpha < math.inf):
            raise OptionError("[tuning] rank must be 0 (all weights) or more, and alpha above 0")
        if self.precision not in PRECISIONS:
            raise OptionError(f"[tuning] precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")


class Policy:
    """A model that learns; `trained` are its trained parameters by name, in 32 bits.

    With LoRA the base is frozen, and in bf16 unless `precision` is fp32.
    """

    def __init__(self, model: Any, tuning: Tuning) -> None:
        """Wrap a freshly loaded model of transformers; it is changed in place.

        Raises:
            SetupError: the extra is missing, or no layer has the names of `tuning.targets`.
        """
        self.tuning = tuning
        self.model = _tuned(model, tuning)
        self.module = Scorer(self.model, bf16=tuning.precision == "bf16")
        self.trained: dict[str, torch.nn.Parameter] = self._trained()
        self.sharded = False

    @classmethod
    def load(cls, folder: Path, tuning: Tuning, *, start: Adapter | None = None) -> Policy:
        """Load a base. LoRA goes on from the matrices of `start`; if all weights are trained, they are merged first.

        Raises:
            SetupError: an extra is missing, or the folder holds no model.
            OptionError: `start` has another rank or other targets than `tuning`.
        """
        tuning.check()
        precise = tuning.precision == "fp32" or not tuning.rank
        model = load_model(folder, precision="fp32" if precise else "auto")
        if start is not None and not tuning.rank:
            merge(model, start.parts)
        policy = cls(model, tuning)
        if start is not None and tuning.rank:
            policy._start_from(start)
        return policy

    def logprobs(self, layout: Layout, *, temperature: float = 1.0) -> torch.Tensor:
        """Log-probabilities (T,) of a layout's sampled tokens, in nats; with a gradient where that is on."""
        found: torch.Tensor = self.module(
            layout.ids, layout.positions, layout.mask(), layout.places, layout.targets, temperature
        )
        return found

    @contextlib.contextmanager
    def standing_in(self, values: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Inside, the trained parameters and `values` are exchanged: the reference's pass needs no copy of either."""
        self._exchange(values)
        try:
            yield
        finally:
            self._exchange(values)

    def _exchange(self, values: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained.items():
                kept = parameter.clone()
                parameter.copy_(values[name])
                values[name].copy_(kept)

    def snapshot(self) -> dict[str, torch.Tensor]:
        """A copy of the trained parameters."""
        return {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    def shard(self) -> None:
        """Leave this process only its part of every weight; before an optimizer is made, and in every process."""
        shard(self.module, self.model.get_decoder().layers)
        self.trained = self._trained()
        self.sharded = True

    def merged_weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The model's weights by Hugging Face's names with what was learnt merged in, one at a time.

        They are whole: where weights are sharded, every process goes through all of them.
        """
        layers = dict(self.model.named_modules())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                stem, _, own = name.rpartition(".base_layer.")
                if stem:
                    yield f"{stem}.{own}", whole(parameter).float() + _change(layers[stem])
                elif ".lora_" not in name:
                    yield name, whole(parameter)

    def adapter_weights(self) -> dict[str, torch.Tensor]:
        """The LoRA matrices as PEFT names them in files, whole as `merged_weights`."""
        return {f"base_model.model.{_plain(name)}": whole(one.detach()) for name, one in self.trained.items()}

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: one for name, one in self.module.named_parameters() if one.requires_grad}

    def _start_from(self, start: Adapter) -> None:
        given = {}
        scale = self.tuning.alpha / self.tuning.rank
        for name, part in start.parts.items():
            stem = name.removesuffix(".weight")
            given[f"{stem}.lora_A.weight"] = torch.from_numpy(part.down)
            # PEFT multiplies by its own scale; where the two differ, one matrix takes it.
            given[f"{stem}.lora_B.weight"] = torch.from_numpy(part.up) * (part.scale / scale)
        own = {_plain(name): parameter for name, parameter in self.trained.items()}
        if {name: one.shape for name, one in own.items()} != {name: one.shape for name, one in given.items()}:
            raise OptionError(
                f"the adapter {start.folder} has another rank or other targets than [tuning]: make them the same, or "
                "set rank = 0 to merge it and train all weights"
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(given[name])


def _tuned(model: Any, tuning: Tuning) -> Any:
    """The model with LoRA layers in it and its own weights frozen, or as it is with all weights trained."""
    if tuning.rank:
        with extra("train", "training LoRA matrices"):
            import peft
        config = peft.LoraConfig(r=tuning.rank, lora_alpha=tuning.alpha, target_modules=list(tuning.targets))
        try:
            model = peft.inject_adapter_in_model(config, model)
        except ValueError as error:
            raise SetupError(f"no layer of this model can be tuned: {str(error).splitlines()[0]}") from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not tuning.rank or ".lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if tuning.checkpoint_activations:
        # transformers renamed it in 5.20.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def _change(layer: Any) -> torch.Tensor:
    """What the matrices of a layer of PEFT's add to its weight."""
    down, up = (whole(part["default"].weight) for part in (layer.lora_A, layer.lora_B))
    changed: torch.Tensor = (up @ down) * layer.scaling["default"]
    return changed.float()


def _plain(name: str) -> str:
    """A trained parameter's name without the scorer's and the adapter's own parts."""
    return name.removeprefix("model.").replace(".default.", ".")
