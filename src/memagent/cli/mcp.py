"""`memagent mcp`: the reader as tools of an agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import click

from memagent.cli.options import model_options, pick_model, pick_settings, reading_options
from memagent.cli.outcome import for_eyes
from memagent.extras import extra
from memagent.models import open_model
from memagent.reading import Journal


@click.command("mcp", short_help="Give agents the reader as tools (Model Context Protocol).")
@click.option("--http", is_flag=True, help="Serve over HTTP at the loopback address instead of stdin and stdout.")
@click.option("--port", type=click.IntRange(1, 65535), default=8322, show_default=True, help="Port, with --http.")
@reading_options
@model_options
def command(http: bool, port: int, **given: Any) -> int:
    """Tools for an agent: ask (files or a text), list_readings, open_reading; progress is told on the way.

    \b
    claude mcp add memagent -- memagent mcp
    memagent mcp --model gpt-5-mini
    memagent mcp --http --port 8322        # http://127.0.0.1:8322/mcp; texts only, no files of this machine
    """
    with extra("mcp", "an MCP server"):
        import mcp  # noqa: F401
    return asyncio.run(_serve(http, port, given))


async def _serve(http: bool, port: int, given: dict[str, Any]) -> int:
    from memagent.serving.tools import make_server

    options, console = pick_model(given), for_eyes()
    async with contextlib.aclosing(await open_model(options, report=console.print)) as model:
        pick_settings(given).resolve(model)
        with contextlib.closing(Journal.default()) as journal:
            server = make_server(
                model, pick_settings(given), journal, options=options.as_json(), may_open_files=not http
            )
            if http:
                console.print(f"serving {model.name} at http://127.0.0.1:{port}/mcp (Ctrl-C ends it)", soft_wrap=True)
                await server.run_streamable_http_async(host="127.0.0.1", port=port)
            else:
                await server.run_stdio_async()
    return 0
