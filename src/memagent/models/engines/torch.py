"""The engine for GPUs, and wherever training's log-probabilities are needed: transformers' models.

Prompts that share a prefix share its state: a prefix is computed once, in right-padded batches of
bucketed lengths, and kept while memory allows. Rows join and leave one left-padded batch that decodes
a token a step. It does not know text; the arithmetic of padding stands in `rows`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.errors import MemagentError, SetupError
from memagent.extras import extra
from memagent.models.engines.base import Job, Output, Precision
from memagent.models.engines.rope import RopeScaling, length_setter
from memagent.models.engines.rows import Row, Rows, bucket, draw, pad_left, positions

if TYPE_CHECKING:
    import torch

    from memagent.models.adapters import LowRank
    from memagent.models.engines.rows import Layers

Ids = tuple[int, ...]
# A longer prompt is computed alone and without padding: its mask, a square of its length, would cost more than
# compiling a new shape.
UNPADDED = 4096


class TorchBackend:
    """See `Backend`. `model` is any causal model of transformers; `end_ids` end a completion.

    At most `rows` prompts decode together, of at most `active_tokens` with padding and replies; `batched_tokens` are
    computed at once of several prompts, and prefixes of `kept_tokens` in all stay in memory. With `by_length` the
    rotary frequencies depend on a text's length (see `rope.length_setter`): one prompt at a time, no shared prefix.
    """

    def __init__(
        self,
        model: Any,
        *,
        end_ids: Sequence[int],
        rows: int = 64,
        batched_tokens: int = 16_384,
        kept_tokens: int | None = None,
        active_tokens: int | None = None,
        by_length: bool = False,
    ) -> None:
        self._model = model
        self._end_ids = frozenset(end_ids)
        self._rows = 1 if by_length else rows
        self._set_length = length_setter(model) if by_length else None
        self._batched_tokens = batched_tokens
        self._kept_tokens = _affordable_tokens(model) if kept_tokens is None else kept_tokens
        self._active_tokens = _affordable_tokens(model) if active_tokens is None else active_tokens
        self._prefixes: OrderedDict[Ids, Layers] = OrderedDict()
        self._waiting: dict[int, Job] = {}
        self._active: Rows | None = None

    def add(self, key: int, job: Job) -> None:
        """See `Backend.add`."""
        self._waiting[key] = replace(job, shared=0) if self._set_length else job

    def cancel(self, key: int) -> None:
        """See `Backend.cancel`."""
        if self._waiting.pop(key, None) is None and self._active is not None:
            self._keep([row for row in self._active.rows if row.key != key])

    def busy(self) -> bool:
        """See `Backend.busy`."""
        return bool(self._waiting) or self._active is not None

    def step(self) -> Iterator[tuple[int, Output | MemagentError]]:
        """See `Backend.step`."""
        import torch

        with torch.inference_mode():
            if self._active is not None:
                self._decode(self._active)
                yield from self._leave()
            for group in self._next_groups():
                started = self._start(group)
                self._active = started if self._active is None else self._active.joined(started)
                yield from self._leave()

    def _next_groups(self) -> Iterator[dict[int, Job]]:
        """Waiting jobs that fit, in groups whose suffixes are computed together."""
        taken = sorted(self._admitted(), key=lambda item: (bool(_prefix(item[1])), _rest(item[1])))
        for key, _ in taken:
            del self._waiting[key]
        group: dict[int, Job] = {}
        for key, job in taken:
            first = next(iter(group.values()), job)
            crowded = bucket(_rest(job)) * (len(group) + 1) > self._batched_tokens
            if group and (crowded or _rest(job) > UNPADDED or bool(_prefix(job)) != bool(_prefix(first))):
                yield group
                group = {}
            group[key] = job
        if group:
            yield group

    def _admitted(self) -> list[tuple[int, Job]]:
        """Waiting jobs there is room for beside those that decode; one in any case if none does."""
        sizes = [_most(row.job) for row in self._active.rows] if self._active else []
        found = []
        for key, job in self._waiting.items():
            sizes.append(_most(job))
            if len(sizes) > 1 and (len(sizes) > self._rows or max(sizes) * len(sizes) > self._active_tokens):
                break
            found.append((key, job))
        return found

    def _start(self, group: dict[int, Job]) -> Rows:
        """Compute the prompts of `group` and draw each one's first token."""
        import torch

        if self._set_length is not None:
            self._set_length(max(map(_most, group.values())))
        known = set(self._prefixes)
        states = self._prefix_states({_prefix(job): None for job in group.values()})
        prefixes = [_prefix(job) for job in group.values()]
        rests = [job.prompt[len(prefix) :] for job, prefix in zip(group.values(), prefixes, strict=True)]
        past, past_mask = pad_left([states[prefix] for prefix in prefixes], device=self._model.device)
        width = _padded(max(map(len, rests)))
        ids = torch.tensor([[0] * (width - len(rest)) + list(rest) for rest in rests])
        own = torch.tensor([[False] * (width - len(rest)) + [True] * len(rest) for rest in rests])
        mask = torch.cat([past_mask, own.to(past_mask.device)], dim=1)
        logits, layers = self._forward(ids, mask, past)
        rows = [
            Row(key, job, cached=len(prefix) if prefix in known else 0)
            for (key, job), prefix in zip(group.items(), prefixes, strict=True)
        ]
        return self._record(Rows(rows, layers, mask), logits)

    def _prefix_states(self, wanted: Mapping[Ids, None]) -> dict[Ids, Layers]:
        """Each prefix's attention state, from memory or computed; those computed are remembered."""
        states: dict[Ids, Layers] = {(): []}
        for prefix in [prefix for prefix in wanted if prefix in self._prefixes]:
            self._prefixes.move_to_end(prefix)
            states[prefix] = self._prefixes[prefix]
        missing = sorted((prefix for prefix in wanted if prefix not in states), key=len)
        while missing:
            width = _padded(len(missing[-1]))
            count = max(1, self._batched_tokens // width)
            batch = [prefix for prefix in missing[-count:] if _padded(len(prefix)) == width]
            del missing[-len(batch) :]
            states.update(self._compute_prefixes(batch, width))
        return states

    def _compute_prefixes(self, batch: list[Ids], width: int) -> dict[Ids, Layers]:
        import torch

        ids = torch.tensor([[*prefix, *[0] * (width - len(prefix))] for prefix in batch])
        mask = torch.tensor([[column < len(prefix) for column in range(width)] for prefix in batch])
        _, layers = self._forward(ids, mask.to(self._model.device), [])
        states = {prefix: _row_state(layers, i, len(prefix)) for i, prefix in enumerate(batch)}
        for prefix, state in states.items():
            self._remember(prefix, state)
        return states

    def _remember(self, prefix: Ids, state: Layers) -> None:
        self._prefixes[prefix] = state
        while self._prefixes and sum(map(len, self._prefixes)) > self._kept_tokens:
            self._prefixes.popitem(last=False)

    def _decode(self, active: Rows) -> None:
        import torch

        last = torch.tensor([[row.tokens[-1]] for row in active.rows])
        mask = torch.cat([active.mask, torch.ones_like(active.mask[:, :1])], dim=1)
        logits, layers = self._forward(last, mask, active.layers)
        self._active = self._record(Rows(active.rows, layers, mask), logits)

    def _record(self, rows: Rows, logits: torch.Tensor) -> Rows:
        tokens, logprobs = draw(logits, rows.rows)
        for row, token, logprob in zip(rows.rows, tokens, logprobs, strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
        return rows

    def _leave(self) -> Iterator[tuple[int, Output | MemagentError]]:
        """Take out the rows that ended."""
        if self._active is None:
            return
        outputs = [(row, row.output(self._end_ids)) for row in self._active.rows]
        ended = [(row.key, output) for row, output in outputs if output is not None]
        if ended:
            self._keep([row for row, output in outputs if output is None])
        yield from ended

    def _keep(self, rows: list[Row]) -> None:
        self._active = self._active.only(rows) if self._active is not None and rows else None

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, past: Layers) -> tuple[torch.Tensor, Layers]:
        """Logits of the last position, (rows, vocabulary), and the state with `ids` added."""
        from memagent.models.engines.growing import cache_of

        width = ids.shape[1]
        out = self._model(
            input_ids=ids.to(mask.device),
            attention_mask=mask.long(),
            position_ids=positions(mask)[:, -width:],
            past_key_values=cache_of(past, self._model.config.get_text_config().num_hidden_layers),
            use_cache=True,
            logits_to_keep=1,
        )
        return out.logits[:, -1].float(), list(out.past_key_values.layers)


def load_model(folder: Path, *, precision: Precision, scaling: RopeScaling | None = None) -> Any:
    """A causal model of transformers in bf16 (or fp32), on the GPU if there is one.

    Raises:
        SetupError: transformers or torch is missing, or the folder holds no model they know.
        OptionError: its positions cannot be scaled.
    """
    with extra("torch", "running a model with transformers"):
        import torch
        import transformers
    transformers.utils.logging.disable_progress_bar()
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
        if scaling is not None:
            scaling.configure(config.get_text_config())
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), config=config, dtype=kind, local_files_only=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SetupError(f"transformers cannot load {folder}: {str(error).strip().splitlines()[0]}") from error
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def merge(model: Any, parts: Mapping[str, LowRank]) -> None:
    """Add an adapter's changes to a model's weights, in place; they must fit."""
    import torch

    weights = model.state_dict()
    with torch.no_grad():
        for name, part in parts.items():
            delta = torch.from_numpy(part.delta()).to(model.device)
            weights[name].copy_(weights[name].float() + delta)


def _prefix(job: Job) -> Ids:
    """The ids whose state is shared; at least one is left to compute."""
    return job.prompt[: min(job.shared, len(job.prompt) - 1)]


def _row_state(layers: Layers, row: int, length: int) -> Layers:
    """One row's first columns, copied so that the batch they come from can be freed."""
    from memagent.models.engines.growing import GrowingLayer

    chosen = slice(row, row + 1), slice(None), slice(length)
    return [GrowingLayer(layer.keys[chosen].clone(), layer.values[chosen].clone()) for layer in layers]


def _most(job: Job) -> int:
    """Tokens of the prompt and the longest reply."""
    return len(job.prompt) + job.max_tokens


def _rest(job: Job) -> int:
    return len(job.prompt) - len(_prefix(job))


def _padded(length: int) -> int:
    """How many columns a prompt of this length takes."""
    return length if length > UNPADDED else bucket(length)


def _affordable_tokens(model: Any) -> int:
    """How many tokens' states fit a fifth of the free memory."""
    import torch

    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**33
    return int(free // 5 // token_bytes)
