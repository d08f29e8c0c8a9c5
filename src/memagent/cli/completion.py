"""`memagent completion SHELL`: the script that makes the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion", short_help="Print the completion script for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    memagent completion bash >> ~/.bashrc
    memagent completion zsh  >> ~/.zshrc
    memagent completion fish > ~/.config/fish/completions/memagent.fish
    """
    from memagent.cli import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(cli, {}, "memagent", "_MEMAGENT_COMPLETE").source())
