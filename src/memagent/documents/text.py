"""Plain text in any encoding: Markdown, source code, logs; read in blocks, never whole.

Opening makes one pass over the file, which checks the encoding to the last byte, counts the characters
and computes the digest; `blocks` makes another. Of a file that grows it is what stood there when it was opened. It does
not know other formats nor chunks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from memagent.documents.base import Block
from memagent.documents.encodings import (
    BLOCK_BYTES,
    UTF_8,
    Bytes,
    Encoding,
    decode_blocks,
    is_binary,
    of_bom,
    of_broken_utf8,
    of_sample,
    telling_lines,
    unfinished,
)
from memagent.errors import DocumentError

_CHANGED = "changed since it was opened; start again with the file as it is now"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """A `Source` that stays on disk. `digest` is the SHA-256 of the decoded text in UTF-8."""

    name: str
    characters: int
    digest: str
    path: Path
    encoding: Encoding
    stamp: tuple[int, int]
    growing: bool = False
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes that were there when it was opened."""
        return self.stamp[0]

    def blocks(self) -> Iterator[Block]:
        """See `Source.blocks`; a change is noticed by size and time of change, at the start and the end."""
        try:
            yield from self._blocks()
        except OSError as error:
            raise DocumentError(f"{self.name}: {why(error)}") from error

    def _blocks(self) -> Iterator[Block]:
        with self.path.open("rb") as file:
            self._check(_stamp(file))
            stream = Beginning(file, self.size) if self.growing else file
            characters = 0
            for text, _ in decode_blocks(stream, self.encoding):
                characters += len(text)
                yield Block(text)
            self._check(_stamp(file))
        stat = self.path.stat()  # the name may have come to stand for another file
        self._check((stat.st_size, stat.st_mtime_ns))
        if characters != self.characters:
            raise DocumentError(f"{self.name}: {_CHANGED}")

    def _check(self, stamp: tuple[int, int]) -> None:
        same = stamp[0] >= self.size if self.growing else stamp == self.stamp
        if not same:
            raise DocumentError(f"{self.name}: {_CHANGED}")


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first `size` bytes of an open file, as if there were no more."""

    file: BinaryIO
    size: int

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes from where it stands."""
        return self.file.read(max(0, min(count, self.size - self.file.tell())))

    def seek(self, place: int, /) -> int:
        """Go to byte `place`."""
        return self.file.seek(place)

    def tell(self) -> int:
        """Where it stands."""
        return self.file.tell()


@dataclass(slots=True)
class _Scan:
    """What one pass over a file found; `beyond_ascii` counts bytes of valid characters after their first."""

    characters: int = 0
    invalid: int = 0
    beyond_ascii: int = 0
    zeros: int = 0
    blank: bool = True
    digest: str = ""


def open_text(path: Path, name: str, *, growing: bool = False, encoding: Encoding | None = None) -> FileText:
    """Open a text file: byte order marks, UTF-8, UTF-16, UTF-32, else the encoding guessed.

    A file that is mostly UTF-8 stays UTF-8: its invalid bytes are shown as U+FFFD and counted in `notes`. With
    `growing` more may be written to it at any time; what is there now is the document. An `encoding` that is given is
    not doubted.

    Raises:
        DocumentError: it is empty or binary (the message lacks the name).
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        stamp = _stamp(file)
        if growing:
            stamp = stamp[0] - _unfinished(file, stamp[0]), stamp[1]
        stream = Beginning(file, stamp[0]) if growing else file
        encoding, scan = (encoding, _scan(stream, encoding)) if encoding else _measure(stream, stamp[0])
        if scan.blank:
            raise DocumentError("empty; there is no text in it")
        if not growing and _stamp(file) != stamp:
            raise DocumentError("changed while it was being opened; try again when it is complete")
    return FileText(
        name=name,
        characters=scan.characters,
        digest=scan.digest,
        path=path.absolute(),
        encoding=encoding,
        stamp=stamp,
        growing=growing,
        notes=tuple(_notes(name, encoding, scan)),
    )


def why(error: OSError) -> str:
    """An operating system's error as a reason to be put behind a file's name."""
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be read ({error.strerror or error})"


def _measure(stream: Bytes, size: int) -> tuple[Encoding, _Scan]:
    """Decide on the encoding, which may take two passes over the file."""
    sample = _sample(stream, size)
    certain = of_bom(sample) or of_sample(sample)
    if certain is not None:
        scan = _scan(stream, certain)
        if scan.zeros:
            raise DocumentError("binary, not text")
        return certain, scan
    if is_binary(sample):
        raise DocumentError("binary, not text")
    scan = _scan(stream, UTF_8)
    if scan.invalid <= scan.beyond_ascii:
        return UTF_8, scan
    guess = of_broken_utf8(_telling_sample(stream))
    if guess is not None:
        return guess, _scan(stream, guess)
    if scan.invalid > scan.characters * 0.1:
        raise DocumentError("binary, or in an encoding that cannot be told; convert it to UTF-8")
    return UTF_8, scan


def _scan(stream: Bytes, encoding: Encoding) -> _Scan:
    scan, digest = _Scan(), hashlib.sha256()
    for text, invalid in decode_blocks(stream, encoding):
        encoded = text.encode()
        digest.update(encoded)
        scan.characters += len(text)
        scan.invalid += invalid
        scan.beyond_ascii += len(encoded) - len(text) - 2 * invalid
        scan.zeros += text.count("\0")
        scan.blank = scan.blank and not text.strip()
    scan.digest = digest.hexdigest()
    return scan


def _sample(stream: Bytes, size: int) -> bytes:
    """The start, the middle and the end of the file, 64 KiB each."""
    parts: list[bytes] = []
    stream.seek(0)
    for at in sorted({0, size // 2 // 4 * 4, max(0, size - BLOCK_BYTES) // 4 * 4}):
        stream.seek(max(at, stream.tell()))  # in short files they would overlap
        parts.append(stream.read(BLOCK_BYTES))
    return b"".join(parts)


def _unfinished(file: BinaryIO, size: int) -> int:
    """How many bytes at the end are a character that is still being written; 0 where all before is not UTF-8."""
    file.seek(max(0, size - 3))
    left = unfinished(file.read(min(3, size)))
    return left if left and not _scan(Beginning(file, size - left), UTF_8).invalid else 0


def _telling_sample(stream: Bytes) -> bytes:
    """Up to 64 KiB of the file's lines that are not ASCII."""
    stream.seek(0)
    found = b""
    while len(found) < BLOCK_BYTES and (block := stream.read(BLOCK_BYTES)):
        found += telling_lines(block) + b"\n"
    return found[:BLOCK_BYTES]


def _notes(name: str, encoding: Encoding, scan: _Scan) -> Iterator[str]:
    if not encoding.name.startswith("utf"):
        yield f"{name} is not UTF-8 and was read as {encoding.name}, by the look of it"
    if scan.invalid:
        are, what = ("byte", "is") if scan.invalid == 1 else ("bytes", "are")
        shown = "shows" if scan.invalid == 1 else "show"
        label = encoding.name.upper()
        yield f"{scan.invalid} {are} of {name} {what} not valid {label} and {shown} as U+FFFD"


def _stamp(stream: BinaryIO) -> tuple[int, int]:
    stat = os.fstat(stream.fileno())
    return stat.st_size, stat.st_mtime_ns
