"""Which encoding bytes are in, and decoding them block by block without losing count of what is broken.

It works on bytes and knows neither files' formats nor documents.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK_BYTES = 1 << 16

# A byte that its encoding does not allow is first decoded to this lone surrogate, which no valid text
# can hold, so that it can be counted before it is shown as U+FFFD.
_MARK = "\udcff"
_REPLACEMENT = "\ufffd"
_ERRORS = "memagent.mark"

_BOMS = (  # UTF-32 first: its little-endian BOM begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_TEXT_CONTROLS = b"\t\n\v\f\r\b\x1b"
_BEYOND_ASCII = bytes(range(128, 256))
_CONTROLS = bytes(set(range(32)) - set(_TEXT_CONTROLS))
_ISO_2022_JP = (b"\x1b$B", b"\x1b$@", b"\x1b(J")


class Bytes(Protocol):
    """What can be decoded: an open file, or a part of one."""

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes from where it stands."""
        ...

    def seek(self, place: int, /) -> int:
        """Go to byte `place`."""
        ...

    def tell(self) -> int:
        """Where it stands."""
        ...


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _MARK * (error.end - error.start), error.end


codecs.register_error(_ERRORS, _mark)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec's name and the length in bytes of the byte order mark to be left out."""

    name: str
    bom: int = 0


UTF_8 = Encoding("utf-8")


def of_bom(head: bytes) -> Encoding | None:
    """The encoding that a byte order mark at the start tells."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return Encoding(name, len(bom))
    return None


def of_sample(sample: bytes) -> Encoding | None:
    """UTF-16, UTF-32 or ISO-2022-JP without a byte order mark, when the sample says so; else None."""
    if any(escape in sample for escape in _ISO_2022_JP):
        return Encoding("iso2022_jp_2")
    if 0 not in sample:
        return None
    zeros = sample.count(0)
    if zeros < len(sample) / 4 and len(sample.translate(None, _BEYOND_ASCII)) > len(sample) * 0.95:
        return None  # ASCII with NULs in it, of which 16 bits a character would have more
    best = max(_WIDE, key=lambda name: _plausibility(sample, name))
    return Encoding(best) if _plausibility(sample, best) > 0 else None


def _plausibility(sample: bytes, name: str) -> float:
    """The share of ASCII, spaces and common marks if `sample` were in this wide encoding; 0 if it is not."""
    text = sample[: len(sample) // 4 * 4].decode(name, "replace")
    strange = sum(unicodedata.category(c) in {"Cc", "Cn", "Co", "Cs"} for c in text if c not in "\t\n\f\r")
    if not text or strange + text.count(_REPLACEMENT) > len(text) / 100:
        return 0.0
    common = sum(c.isspace() or c in "。、，．" or "!" <= c <= "~" for c in text) / len(text)
    return common if common > 0.01 else 0.0


def is_binary(sample: bytes) -> bool:
    """Whether bytes in an encoding that contains ASCII look like no text: NULs or many control characters."""
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return 0 in sample[:8192] or controls > len(sample) * 0.03


def of_broken_utf8(sample: bytes) -> Encoding | None:
    """The most likely encoding of text that is not UTF-8, by charset-normalizer; None if it cannot say."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample))
    if not matches or matches[0].encoding in {"ascii", "utf_8"}:
        return None
    western = next((match for match in matches if "cp1252" in match.could_be_from_charset), None)
    # French in cp1252 comes second to Baltic letters; where no language is recognised, order is chance.
    if western is not None and western.chaos <= matches[0].chaos + 0.1:
        best = matches[0].coherence
        if western.coherence > best or western.coherence == best == 0:
            return Encoding("cp1252")
    return Encoding(matches[0].encoding)


def telling_lines(block: bytes) -> bytes:
    """The lines of `block` that are not ASCII: the ones an encoding can be told by."""
    return b"\n".join(line for line in block.split(b"\n") if not line.isascii())


def decode_blocks(stream: Bytes, encoding: Encoding) -> Iterator[tuple[str, int]]:
    """Decode `stream` from its start, without the byte order mark and without newline translation.

    Yields text of at most 64K characters and the number of bytes in it that are not valid and show
    as U+FFFD, each as one.
    """
    stream.seek(encoding.bom)
    decoder = codecs.getincrementaldecoder(encoding.name)(_ERRORS)
    while raw := stream.read(BLOCK_BYTES):
        if text := decoder.decode(raw):
            yield _counted(text)
    if text := decoder.decode(b"", final=True):
        yield _counted(text)


def _counted(text: str) -> tuple[str, int]:
    invalid = text.count(_MARK)
    return (text.replace(_MARK, _REPLACEMENT) if invalid else text), invalid


def unfinished(tail: bytes) -> int:
    """How many bytes at the end of some UTF-8 begin a character that is not whole yet."""
    for count, byte in enumerate(reversed(tail[-3:]), start=1):
        if byte >= 0xC0:
            return count if count < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else 0
        if byte < 0x80:
            return 0
    return 0
