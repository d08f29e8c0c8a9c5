"""Commands by name, imported when they are used, so that `--help` and completion are fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click


class LazyGroup(click.Group):
    """A group whose commands are the `command` of the modules of `package`, in the order of `names`.

    `files` says in which module a command lies that is not called as it is.
    """

    package: str
    names: tuple[str, ...]
    files: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order a newcomer meets them."""
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's file and take its `command`."""
        if cmd_name not in self.names:
            return None
        module = importlib.import_module(f"{self.package}.{self.files.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command
