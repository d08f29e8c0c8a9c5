"""One line for whoever lacks the libraries that read PDF, HTML, EPUB and DOCX; it knows nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memagent.errors import SetupError


@contextmanager
def needs_documents_extra(what: str) -> Iterator[None]:
    """Turn a failing import inside into a `SetupError` that says how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise SetupError(f"reading {what} needs more libraries: pip install 'memagent[documents]'") from error
