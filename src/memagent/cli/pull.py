"""`memagent pull`: fetch weights once, so that everything after works offline."""

from __future__ import annotations

import click


@click.command("pull", short_help="Fetch a model's weights, so that reading works offline.")
@click.argument("name", default="smollm2-135m")
def command(name: str) -> None:
    """Fetch the embedded model (smollm2-135m, the default) or a model of the hub by its id.

    \b
    memagent pull
    memagent pull Qwen/Qwen2.5-0.5B-Instruct
    """
    from memagent.models.pull import pull

    folder = pull(name, report=lambda line: click.echo(line, err=True))
    click.echo(folder)
