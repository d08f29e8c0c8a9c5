"""One line for a missing optional dependency. It knows nothing of what is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memagent.errors import SetupError


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Imports inside need the extra `name`; `purpose` starts the sentence, as in "reading a GGUF file".

    Raises:
        SetupError: something is not installed; names the command that installs it.
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or str(error)
        raise SetupError(
            f"{purpose} needs {missing}, which is not installed: pip install 'memagent[{name}]'"
        ) from error
