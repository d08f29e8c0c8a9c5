"""The model and reading options that every command shares, and how they become objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from memagent.models import ModelOptions
from memagent.reading.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


class Tokens(click.ParamType[int]):
    """A number of tokens: 5000, 8k (8,192) or 1m (1,048,576)."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See the class."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([km]?)\s*", str(value).replace(",", ""), re.IGNORECASE)
        if found is None:
            self.fail(f"{value!r} is no number of tokens: write 5000, 8k or 1m", param, ctx)
        size = float(found[1]) * {"": 1, "k": 1024, "m": 1024**2}[found[2].lower()]
        if abs(size) > 2**40:
            self.fail(f"{value[:20]}… is more tokens than any model reads", param, ctx)
        return int(size)


class TokensList(click.ParamType[tuple[int, ...]]):
    """Numbers of tokens with commas between them: 8k,64k,1m."""

    name = "tokens list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """See the class."""
        if isinstance(value, tuple):
            return value
        return tuple(Tokens().convert(part, param, ctx) for part in str(value).split(","))


class Names(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """See the class."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} is no list of names: write them with commas between them", param, ctx)
        return names


def _joined(ctx: click.Context, param: click.Parameter, urls: tuple[str, ...]) -> str | None:
    """Several endpoints as one text."""
    return ",".join(urls) or None


_MODEL = [
    click.option("--model", default="local", envvar="MEMAGENT_MODEL", show_default=True, metavar="MODEL",
                 help="local, local:PATH_OR_HUB_ID, or an endpoint's model name."),
    click.option("--base-url", envvar="OPENAI_BASE_URL", metavar="URL[,URL]", multiple=True, callback=_joined,
                 help="OpenAI-compatible endpoint, or several of the same model (default: OPENAI_BASE_URL; the key is "
                      "OPENAI_API_KEY)."),
    click.option("--adapter", metavar="FOLDER", help="LoRA adapter for a local model."),
    click.option("--tokenizer", metavar="NAME",
                 help="The endpoint's tokenizer: a name that pull knows, a folder or a hub id (else estimated)."),
    click.option("--window", type=Tokens(), help="The endpoint's context window, if it does not tell."),
    click.option("--price", metavar="IN,OUT[,CACHED]", help="USD per million tokens."),
    click.option("--concurrency", type=click.IntRange(1), help="Calls at once (endpoints: 8, local: 32)."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True,
                 help="Seconds to wait for one reply."),
    click.option("--retries", type=click.IntRange(0), default=5, show_default=True,
                 help="How often a failed call is tried again."),
    click.option("--engine", type=click.Choice(["auto", "openvino", "torch"]), default="auto", show_default=True,
                 help="What runs a local model."),
    click.option("--precision", type=click.Choice(["auto", "fp32"]), default="auto", show_default=True,
                 help="Arithmetic of a local model."),
    click.option("--rope", metavar="KIND:FACTOR",
                 help="Stretch a local model's window: yarn:4, dynamic:4 or linear:4 (engine torch)."),
]  # fmt: skip

_READING = [
    click.option("--protocol", metavar="paper|gated", help="How turns are worded (default: what suits the model)."),
    click.option("--chunk-tokens", type=Tokens(), help="Tokens of a chunk."),
    click.option("--memory-tokens", type=Tokens(), help="Tokens of the memory."),
    click.option("--answer-tokens", type=Tokens(), help="Tokens of the answer (default: as the memory)."),
    click.option("--thinking-tokens", type=Tokens(), default=0, show_default=True,
                 help="Tokens that a reasoning model may think before each reply."),
    click.option("--read-ahead", type=int, help="Chunks that may be tried at once (gated protocol)."),
    click.option("--exit", is_flag=True, help="Let the model stop reading once it knows enough."),
    click.option("--gate", type=float, metavar="P",
                 help="Hold back changes of the memory whose first token has less probability (local models)."),
    click.option("--verbatim/--no-verbatim", default=None,
                 help="Add nothing to the memory but quotes of the document; slips in copying are mended."),
    click.option("--confirm/--no-confirm", default=None,
                 help="Show a passage again, alone, before it is added to the memory."),
    click.option("--sift", type=float, metavar="P",
                 help="Of a chunk with something to add, look at each sentence alone, and add those as probable as P."),
    click.option("--reread/--no-reread", default=None,
                 help="After an addition, show what is left of the chunk again until nothing more is added."),
    click.option("--answer-form", type=click.Choice(["boxed", "sentence"]), default="boxed", show_default=True,
                 help="How the answer is asked for; sentence is the published evaluation's (paper protocol)."),
    click.option("--temperature", type=float, default=0.0, show_default=True),
    click.option("--top-p", type=float, default=1.0, show_default=True),
    click.option("--seed", type=int, help="Makes sampling repeatable."),
]  # fmt: skip


def model_options(function: Function) -> Function:
    """Adds the options that say which model is used; they arrive as keywords for `ModelOptions`."""
    for option in reversed(_MODEL):
        function = option(function)
    return function


def reading_options(function: Function) -> Function:
    """Adds the options that say how it reads; they arrive as keywords for `Settings`."""
    for option in reversed(_READING):
        function = option(function)
    return function


def pick_model(given: dict[str, Any]) -> ModelOptions:
    """The model's part of a command's keywords."""
    picked = ModelOptions.from_json(given)
    if picked.model.partition(":")[0] == "local" and picked.base_url is not None:
        source = click.get_current_context().get_parameter_source("base_url")
        if source is click.core.ParameterSource.ENVIRONMENT:
            # OPENAI_BASE_URL is set for other programs; it only matters where an endpoint is meant.
            return ModelOptions.from_json({**given, "base_url": None})
    return picked


def pick_settings(given: dict[str, Any]) -> Settings:
    """The reading's part of a command's keywords."""
    return Settings(**{name: given[name] for name in Settings.__dataclass_fields__ if name in given})
