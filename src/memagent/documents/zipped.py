"""Opening zip containers (EPUB, DOCX) safely. It does not know what is inside."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memagent.errors import DocumentError

LARGEST = 1 << 30


@contextmanager
def unpack(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`; `what` names the format in messages.

    Raises:
        DocumentError: corrupt, locked, or larger than 1 GiB when unpacked (the message lacks the name).
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                raise DocumentError(f"more than 1 GiB when unpacked, too much for a {what} file")
            if any(entry.flag_bits & 1 for entry in archive.infolist()):
                raise DocumentError("password-protected; save a copy without the password and use that")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DocumentError(f"a corrupt {what} file ({error})") from error
