"""Models on this machine: the embedded one, a folder, a GGUF file, or one of the Hugging Face hub.

It joins a tokenizer, an adapter and an engine, and answers requests with them. Where weights lie is
found in `sources`. It does not know documents, memories or protocols.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from memagent.errors import OptionError, SetupError, WindowOverflow
from memagent.models.adapters import CARD_NAME, Adapter, merged_gguf, read_adapter
from memagent.models.base import Completion, Price, Prompt, Request
from memagent.models.engines.base import Backend, Engine, Job, Output, Precision, Submits
from memagent.models.engines.rope import RopeScaling
from memagent.models.gguf_files import GGUF
from memagent.models.paths import user_path
from memagent.models.pull import EMBEDDED, Report, with_safetensors
from memagent.models.sources import Source, locate
from memagent.models.thinking import OPENING, split_thinking
from memagent.models.tokenizers import HubTokenizer
from memagent.tokens import Tokenizer

ENGINES = ("auto", "openvino", "torch")
PRECISIONS = ("auto", "fp32")
# How the embedded models read best untrained, by measurement (docs/measurements.md).
EMBEDDED_READS: Mapping[str, str | float] = {
    "protocol": "gated",
    "chunk_tokens": 1024,
    "memory_tokens": 64,
    "read_ahead": 8,
}
# What an adapter's card may say about reading, and of which kinds that must be.
_SUGGESTED: Mapping[str, tuple[type, ...]] = {
    "protocol": (str,),
    **dict.fromkeys(("chunk_tokens", "memory_tokens", "read_ahead"), (int,)),
    **dict.fromkeys(("gate", "sift"), (float, int)),
    **dict.fromkeys(("verbatim", "confirm", "reread"), (bool,)),
}


@dataclass(frozen=True, slots=True)
class _Loaded:
    backend: Backend
    window: int


class LocalModel:
    """A model run in this process; see `Model`. Concurrent calls share one batch."""

    price: Price | None = Price(0.0, 0.0)

    def __init__(
        self,
        engine: Submits,
        tokenizer: HubTokenizer,
        *,
        name: str,
        window: int,
        identity: Mapping[str, str],
        notes: tuple[str, ...] = (),
        suggests: Mapping[str, str | float] | None = None,
    ) -> None:
        self.name = name
        self.window = window
        self.tokenizer: Tokenizer = tokenizer
        self.special_tokens = tokenizer.special_tokens
        self.suggests: Mapping[str, str | float] = dict(suggests or {})
        self._tokenizer = tokenizer
        self._engine = engine
        self._identity = dict(identity)
        self._notes = notes

    @classmethod
    def open(
        cls,
        source: str = EMBEDDED,
        *,
        adapter: str | Path | None = None,
        engine: str = "auto",
        precision: str = "auto",
        rope: str | None = None,
        concurrency: int = 64,
        report: Report | None = None,
    ) -> LocalModel:
        """Load a model; a missing one is fetched, which `report` is told in a line.

        `source` is a name that `pull` knows, a folder (safetensors or a .gguf), a .gguf file, or a hub
        id. `engine` auto takes transformers where there is a GPU, else OpenVINO where there is a GGUF.
        `precision` fp32 computes everything in 32 bits. `rope` stretches the window (`yarn:4`), by transformers
        alone. `concurrency` bounds the rows of a batch.

        Raises:
            OptionError: an unknown engine, precision or scaling.
            SetupError: weights or an extra are missing, or the adapter is for another base.
        """
        _check_options(engine, precision, concurrency)
        scaling = None if rope is None else RopeScaling.parse(rope)
        found = locate(source, report)
        found.tokenizer.require_chat_template()
        tuned = read_adapter(user_path(adapter)) if adapter is not None else None
        if _choose_engine(engine, found, scaling) == "torch":
            loaded = _load_torch(found, tuned, cast(Precision, precision), concurrency, scaling)
        else:
            loaded = _load_openvino(found, tuned, cast(Precision, precision), concurrency)
        return cls(
            Engine(loaded.backend),
            found.tokenizer,
            name=found.name,
            window=loaded.window,
            identity=_identity(found, tuned, precision, rope),
            notes=_notes(found, tuned),
            suggests=suggestions(found, tuned),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Model.notes`."""
        return self._notes

    @property
    def identity(self) -> dict[str, str]:
        """See `Model.identity`. The engine is not part of it: readings go on with another."""
        return dict(self._identity)

    def prompt_tokens(self, prompt: Prompt) -> int:
        """See `Model.prompt_tokens`; exact."""
        return len(self._tokenizer.chat(prompt))

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`. A call that is cancelled leaves the batch.

        Raises:
            WindowOverflow: prompt and completion do not fit the window.
            StoppedError: the engine failed (out of memory, say) or was closed.
        """
        job = self._job(request)
        output = await asyncio.wrap_future(self._engine.submit(job))
        return self._completion(request, job, output)

    async def disconnect(self) -> None:
        """See `Model.disconnect`: nothing here belongs to an event loop."""

    async def aclose(self) -> None:
        """End the engine's thread; calls under way fail."""
        await asyncio.to_thread(self._engine.close)

    def _job(self, request: Request) -> Job:
        parts = self._tokenizer.chat_parts(request.prompt)
        prompt = tuple(token for part in parts for token in part)
        budget = request.max_tokens + (request.thinking_tokens if self._tokenizer.thinks else 0)
        if len(prompt) + budget > self.window:
            raise WindowOverflow(
                f"{len(prompt)} prompt tokens and {budget} to generate do not fit {self.name}'s window of {self.window}"
            )
        word = self._tokenizer.encode(request.one_token) if request.one_token else []
        return Job(
            prompt=prompt,
            max_tokens=budget,
            sampling=request.sampling,
            shared=sum(map(len, parts[: request.prompt.shared])) if len(parts) > 1 else 0,
            stop_after=word[0] if len(word) == 1 else None,
            logprobs=request.logprobs,
        )

    def _completion(self, request: Request, job: Job, output: Output) -> Completion:
        opening = OPENING if self._tokenizer.opens_thinking else ""
        decoded = opening + self._tokenizer.decode(output.token_ids)
        text, thinking = split_thinking(decoded, finished=output.finish == "stop")
        return Completion(
            text=text,
            thinking=thinking,
            finish=output.finish,
            prompt_tokens=len(job.prompt),
            completion_tokens=len(output.token_ids),
            cached_tokens=output.cached_tokens,
            prompt_ids=job.prompt if request.logprobs else None,
            token_ids=output.token_ids if request.logprobs else None,
            logprobs=output.logprobs,
        )


def _check_options(engine: str, precision: str, concurrency: int) -> None:
    if engine not in ENGINES:
        raise OptionError(f"there is no engine {engine}: take one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise OptionError(f"there is no precision {precision}: take one of {', '.join(PRECISIONS)}")
    if concurrency < 1:
        raise OptionError("concurrency must be at least 1")


def _choose_engine(engine: str, found: Source, scaling: RopeScaling | None = None) -> str:
    if scaling is not None and (engine == "openvino" or found.folder is None):
        raise OptionError("only transformers scales rotary positions: take the engine torch, and safetensors")
    if scaling is not None:
        return "torch"
    if engine == "openvino" and found.gguf is None:
        raise SetupError(f"OpenVINO runs GGUF files, and {found.name} has none; take the engine torch")
    if engine == "torch" and found.folder is None:
        raise SetupError(f"transformers runs safetensors, and {found.name} has none; take the engine openvino")
    if engine != "auto":
        return engine
    if found.folder is not None and _has_gpu():
        return "torch"
    if found.gguf is not None and (_installed("openvino_genai") or found.folder is None):
        return "openvino"
    if found.gguf is not None and not _installed("torch"):
        raise SetupError(f"running {found.name} on the CPU needs OpenVINO: pip install 'memagent[local]'")
    return "torch"


def _load_openvino(found: Source, adapter: Adapter | None, precision: Precision, rows: int) -> _Loaded:
    from memagent.models.engines.openvino import OpenVinoBackend

    assert found.gguf is not None
    file = GGUF(found.gguf)
    path = found.gguf if adapter is None else merged_gguf(found.gguf, found.base_sha256, adapter, name=found.name)
    return _Loaded(OpenVinoBackend(path, end_ids=file.end_ids, precision=precision, rows=rows), file.window)


def _load_torch(
    found: Source, adapter: Adapter | None, precision: Precision, rows: int, scaling: RopeScaling | None
) -> _Loaded:
    from memagent.models.engines.torch import TorchBackend, load_model, merge

    assert found.folder is not None
    model = load_model(with_safetensors(found.folder), precision=precision, scaling=scaling)
    if adapter is not None:
        shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        adapter.check(found.name, found.base_sha256, shapes)
        merge(model, adapter.parts)
    ended = model.generation_config.eos_token_id
    end_ids = ended if isinstance(ended, list) else [ended] if ended is not None else []
    trained = int(model.config.get_text_config().max_position_embeddings)
    if scaling is None:
        return _Loaded(TorchBackend(model, end_ids=end_ids, rows=rows), trained)
    by_length = scaling.kind == "dynamic"
    backend = TorchBackend(model, end_ids=end_ids, rows=rows, by_length=by_length)
    return _Loaded(backend, scaling.window(trained))


def _identity(found: Source, adapter: Adapter | None, precision: str, rope: str | None) -> dict[str, str]:
    identity = {"kind": "local", "model": found.name, "weights": found.base_sha256[:16]}
    if adapter is not None:
        identity["adapter"] = adapter.sha256[:16]
    if precision != "auto":
        identity["precision"] = precision
    if rope is not None:
        identity["rope"] = rope
    return identity


def _notes(found: Source, adapter: Adapter | None) -> tuple[str, ...]:
    if adapter is not None:
        return adapter.notes
    if found.title is not None:
        return (f"{found.title} is untrained for reading: its answers may be weak",)
    return ()


def suggestions(found: Source, adapter: Adapter | None) -> dict[str, str | float]:
    """How these weights read best: as the adapter's card says, or as was measured for the embedded models."""
    if adapter is None:
        return dict(EMBEDDED_READS) if found.title is not None else {}
    return suggested(adapter)


def suggested(adapter: Adapter) -> dict[str, str | float]:
    """How an adapter is to be read with, as far as its card says.

    Raises:
        SetupError: it says something that cannot be.
    """
    card = adapter.card or {}
    told = {name: card[name] for name in _SUGGESTED if card.get(name) is not None}
    for name, value in told.items():
        if type(value) not in _SUGGESTED[name] or (isinstance(value, float) and not math.isfinite(value)):
            kinds = " or ".join(kind.__name__ for kind in _SUGGESTED[name])
            raise SetupError(f"{adapter.folder / CARD_NAME} says {name} = {value!r}, which is no {kinds}")
    return told


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_gpu() -> bool:
    """Whether torch sees a GPU; where no driver is, torch (slow to import) is not asked."""
    driver = shutil.which("nvidia-smi") or shutil.which("rocm-smi") or Path("/dev/nvidiactl").exists()
    if not driver or not _installed("torch"):
        return False
    import torch

    return bool(torch.cuda.is_available())
