"""`memagent serve`: the reader behind an OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from memagent.cli.options import model_options, pick_model, pick_settings, reading_options
from memagent.cli.outcome import for_eyes
from memagent.errors import OptionError
from memagent.extras import extra
from memagent.models.endpoint.address import LOOPBACK


@click.command("serve", short_help="Serve documents of any length to every OpenAI client.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--api-key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="Let in who sends this key (default: MEMAGENT_API_KEYS, with commas between; none: everybody).",
)
@click.option("--at-once", type=click.IntRange(1), default=8, show_default=True, help="Readings that run together.")
@click.option("--queue", type=click.IntRange(0), default=64, show_default=True, help="Requests that may wait.")
@click.option(
    "--per-key", type=click.IntRange(1), default=64, show_default=True, help="Requests of one key that may run or wait."
)
@click.option("--body-mib", type=click.IntRange(1), default=64, show_default=True, help="Bound of a request's body.")
@click.option(
    "--files-mib", type=click.IntRange(1), default=4096, show_default=True, help="Bound of all uploaded files together."
)
@click.option(
    "--evaluations",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="A folder of evaluations' folders, for the page to open.",
)
@reading_options
@model_options
def command(host: str, port: int, keys: tuple[str, ...], evaluations: Path | None, **given: Any) -> int:
    """Serve an OpenAI-compatible API: what fits the model's window goes straight through, what does not is read.

    \b
    memagent serve                                                        # the embedded model
    memagent serve --model qwen2.5:7b --base-url http://localhost:11434/v1
    memagent serve --host 0.0.0.0 --api-key "$SECRET"

    Exit status: 0 ended by a signal, 2 bad input or setup.
    """
    if any(not key.strip() for key in keys):
        raise OptionError("an empty --api-key would let everybody in: give one, or leave it out")
    keys = keys or tuple(one.strip() for one in os.environ.get("MEMAGENT_API_KEYS", "").split(",") if one.strip())
    with extra("serve", "serving"):
        import uvicorn  # noqa: F401
    from memagent.serving.admission import Limits
    from memagent.serving.running import serve

    if host not in LOOPBACK and not keys:
        raise OptionError(f"--host {host} lets other machines in: give them an --api-key (or MEMAGENT_API_KEYS)")

    names = ("at_once", "queue", "per_key", "body_mib", "files_mib")
    limits = Limits(keys=keys, **{name: given[name] for name in names})
    console = for_eyes()
    report = lambda line: console.print(line, soft_wrap=True)  # noqa: E731
    model, settings = pick_model(given), pick_settings(given)
    work = serve(model, settings, limits, host=host, port=port, evaluations=evaluations, report=report)
    return asyncio.run(work)
