"""Every way memagent can fail, as one tree; it knows nothing else of the package.

Each class carries the exit status that the command line ends with, and each message is one
line that says what is wrong and what to do.

    MemagentError
    ├── InputError              2   the user's input is unusable
    │   ├── DocumentError           a document is missing, empty, binary, locked, corrupt or has changed
    │   └── OptionError             an option or a combination of options is impossible
    ├── SetupError              2   something to be installed, fetched, reached or authorised is not
    │   ├── EndpointUnreachable     no endpoint answers there at all
    │   └── PromptWasCut            the endpoint silently dropped part of a prompt
    ├── StoppedError            3   stopped half-way; the reading can be resumed
    │   ├── EndpointDown            the endpoint answered before and stays down now
    │   ├── BudgetSpent             --max-cost is reached
    │   └── JournalError            the journal cannot be written (full disk, read-only, in use)
    └── TurnError               3   one turn failed; the reader splits or records the chunk
        ├── WindowOverflow          the prompt does not fit the model's window
        └── TurnRefused             this text is refused (a content filter, a malformed reply that persists)
"""

from __future__ import annotations


class MemagentError(Exception):
    """Base of all: `str(error)` is one line for the user."""

    exit_status = 2


class InputError(MemagentError):
    """The user's input is unusable."""


class DocumentError(InputError):
    """A document is missing, empty, binary, locked, corrupt, or has changed."""


class OptionError(InputError):
    """An option, or a combination of options, is impossible."""


class SetupError(MemagentError):
    """Something to be installed, fetched, reached or authorised is not."""


class EndpointUnreachable(SetupError):
    """No endpoint answers at that address at all."""


class PromptWasCut(SetupError):
    """The endpoint silently dropped part of a prompt."""


class StoppedError(MemagentError):
    """Stopped half-way; what is done is kept and the reading can be resumed."""

    exit_status = 3


class EndpointDown(StoppedError):
    """The endpoint answered before and stays down now."""


class BudgetSpent(StoppedError):
    """The money the user allowed is spent."""


class JournalError(StoppedError):
    """The journal cannot be written: full disk, read-only, or in use by another process."""


class TurnError(MemagentError):
    """One turn failed; the reader decides what becomes of its chunk."""

    exit_status = 3


class WindowOverflow(TurnError):
    """The prompt does not fit the model's window."""


class TurnRefused(TurnError):
    """The model refuses this text, or answers it with nothing usable again and again."""
