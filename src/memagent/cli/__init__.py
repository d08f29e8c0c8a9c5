"""The command line: one file per command and no logic. This one runs a command and ends it well.

Whatever goes wrong becomes one line on stderr and an exit status: 0 done, 2 bad input or setup, 3 stopped
but resumable, 130 interrupted (resumable).
"""

from __future__ import annotations

import io
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

import click

from memagent import __version__
from memagent.cli.groups import LazyGroup
from memagent.errors import MemagentError


class Commands(LazyGroup):
    """The commands of this folder."""

    package = "memagent.cli"
    names = ("ask", "readings", "serve", "mcp", "data", "eval", "train", "cost", "pull", "completion")
    files: ClassVar[Mapping[str, str]] = {"eval": "evaluate"}


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Read documents of any length with any LLM, at linear cost, with a memory you can watch.

    \b
    memagent ask book.txt -q "Who inherits the house?"
    memagent ask contract.pdf annex.docx -q "When does it end?" --model gpt-5-mini
    memagent readings
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status."""
    status = run(arguments)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    """End one of torchrun's processes at once.

    torch.distributed's threads outlive its groups where FSDP's caches still hold them, and on a busy machine
    Python's own shutdown has been aborted by them after a run that was complete (1 of 24 runs of two processes).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status. Never raises and never prints a traceback."""
    _make_output_safe()
    try:
        status = cli.main(args=arguments, prog_name="memagent", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        return fail(error.format_message().replace("\n", " "), error.exit_code or 2)
    except MemagentError as error:
        return fail(str(error), error.exit_status)
    except (KeyboardInterrupt, click.exceptions.Abort):
        return fail("interrupted; what was read is kept: `memagent readings` shows it", 130)
    except BrokenPipeError:
        # The reader of our output went away; what is left must not be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except sqlite3.Error as error:
        return fail(f"the journal cannot be read: {error}", 2)
    except OSError as error:
        return fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    except Exception as error:
        if os.environ.get("MEMAGENT_DEBUG"):
            raise
        return fail(f"internal error: {type(error).__name__}: {error}; set MEMAGENT_DEBUG=1 for its traceback", 1)


def _make_output_safe() -> None:
    """No closed stream, and no character that the terminal's encoding lacks, may end a command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(message: str, status: int) -> int:
    """Print one line on stderr and return `status`."""
    click.echo(f"memagent: {' '.join(message.split())}", err=True)
    return 2 if status == 1 and not message.startswith("internal") else status
