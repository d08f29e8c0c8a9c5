"""Who generates: one small async protocol, and the models behind it, opened by name."""

from __future__ import annotations

import os
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

    `base_url` names one endpoint, or several of the same model with commas between them. `model` is `local` (the
    embedded default, with the adapter in the box unless another is named), `local:PATH_OR_HUB_ID`, or an endpoint's
    model name; `adapter` a LoRA folder for local models; `tokenizer` a name that `pull` knows, a folder or a hub id,
    for endpoints; `window` the endpoint's context in tokens; `price` USD per million prompt, completion and
    (optionally) cached tokens; `concurrency` calls at once (8 at each endpoint, 32 of local models, unless given);
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
        return {
            **asdict(self),
            "base_url": self.base_url and ",".join(map(_without_secrets, split_urls(self.base_url))),
        }

    @property
    def addresses(self) -> tuple[str | None, ...]:
        """The endpoints' URLs; one None where none is given.

        Raises:
            OptionError: there are commas, and no URL between them.
        """
        given = self.base_url or os.environ.get("OPENAI_BASE_URL", "")
        found = split_urls(given)
        if given.strip() and not found:
            raise OptionError("--base-url (or OPENAI_BASE_URL) has commas and no address: is a variable unset?")
        return found or (None,)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ModelOptions:
        """The inverse of `as_json`; names it does not know are left out."""
        return cls(**{name: value for name, value in record.items() if name in cls.__dataclass_fields__})


def split_urls(text: str) -> tuple[str, ...]:
    """The URLs in a text that has commas between them, each once, with a slash at its end or without."""
    return tuple(dict.fromkeys(url for part in text.split(",") if (url := part.strip().rstrip("/"))))


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
    from memagent.models.fleet import Fleet
    from memagent.models.openai import OpenAIModel, parse_price
    from memagent.models.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer) if options.tokenizer else None
    price = parse_price(options.price) if options.price else None
    concurrency = 8 if options.concurrency is None else options.concurrency
    members = [
        OpenAIModel(
            options.model,
            base_url=url,
            tokenizer=tokenizer,
            window=options.window,
            concurrency=concurrency,
            timeout=options.timeout,
            retries=options.retries,
            price=price,
        )
        for url in options.addresses
    ]
    alone = len(members) == 1
    model = members[0] if alone else Fleet(members, concurrency=concurrency, retries=options.retries)
    await model.prepare()
    return model
