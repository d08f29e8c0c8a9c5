"""Who generates: one small async protocol, and the models behind it, opened by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from memagent.errors import OptionError
from memagent.models.base import Completion, Model, Price, Prompt, Request, Sampling
from memagent.models.scripted import ScriptedModel

__all__ = [
    "Completion",
    "Model",
    "ModelOptions",
    "Price",
    "Prompt",
    "Request",
    "Sampling",
    "ScriptedModel",
    "open_model",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How to open a model: what the command line takes and the journal keeps (never a key).

    `model` is `local` (the embedded default, with the adapter in the box unless another is named),
    `local:PATH_OR_HUB_ID`, or an endpoint's model name; `adapter` a LoRA folder for local models; `tokenizer` a name
    that `pull` knows, a folder or a hub id, for endpoints; `window` the endpoint's context in tokens; `price` USD per
    million prompt, completion and (optionally) cached tokens; `concurrency` calls at once (endpoints 8, local models
    32 unless given);
    `precision` of local models: auto or fp32; `rope` stretches a local model's window (`yarn:4`, see
    `models.engines.rope`).
    """

    model: str = "local"
    base_url: str | None = None
    adapter: str | None = None
    tokenizer: str | None = None
    window: int | None = None
    price: str | None = None
    concurrency: int | None = None
    timeout: float = 600.0
    retries: int = 5
    engine: str = "auto"
    precision: str = "auto"
    rope: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for the journal; what a URL may hide (name, password, query) is left out."""
        return {**asdict(self), "base_url": self.base_url and _without_secrets(self.base_url)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelOptions:
        """The inverse of `as_json`; names it does not know are left out."""
        return cls(**{name: value for name, value in record.items() if name in cls.__dataclass_fields__})


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


async def open_model(options: ModelOptions, *, report: Callable[[str], None] | None = None) -> Model:
    """The model that `options` name, ready to generate; `report` is told in a line what takes long.

    Raises:
        OptionError: options that do not go together.
        SetupError: weights, an extra, an endpoint or a key is missing.
    """
    kind, _, source = options.model.partition(":")
    if kind == "local":
        return _open_local(options, source, report)
    if options.adapter is not None:
        raise OptionError("--adapter is for local models: an endpoint serves adapters under names of their own")
    if (options.engine, options.precision, options.rope) != ("auto", "auto", None):
        raise OptionError("--engine, --precision and --rope are for local models: an endpoint chooses its own")
    return await _open_endpoint(options)


def _open_local(options: ModelOptions, source: str, report: Callable[[str], None] | None) -> Model:
    from memagent.models.local import LocalModel
    from memagent.models.shipped import shipped

    for name in ("base_url", "tokenizer", "price", "window"):
        if getattr(options, name) is not None:
            raise OptionError(f"--{name.replace('_', '-')} is for endpoints: name one with --model, or leave it out")
    return LocalModel.open(
        source or "smollm2-135m",
        adapter=options.adapter or (None if source else shipped()),
        engine=options.engine,
        precision=options.precision,
        rope=options.rope,
        concurrency=32 if options.concurrency is None else options.concurrency,
        report=report,
    )


async def _open_endpoint(options: ModelOptions) -> Model:
    from memagent.models.openai import OpenAIModel, parse_price
    from memagent.models.tokenizers import load_tokenizer

    model = OpenAIModel(
        options.model,
        base_url=options.base_url,
        tokenizer=load_tokenizer(options.tokenizer) if options.tokenizer else None,
        window=options.window,
        concurrency=8 if options.concurrency is None else options.concurrency,
        timeout=options.timeout,
        retries=options.retries,
        price=parse_price(options.price) if options.price else None,
    )
    await model.prepare()
    return model
