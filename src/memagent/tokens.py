"""Counting tokens: the one protocol by which documents are cut and prompts are measured.

It does not know where a tokenizer comes from (see `models/tokenizers.py`) nor what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """Where tokens end in a text.

    `exact` tells whether these are the policy's own tokens or a safe estimate.
    """

    name: str
    exact: bool

    def ends(self, text: str) -> Sequence[int]:
        """Character offset (exclusive) at which each token of `text` ends, non-decreasing.

        Tokens that share a character (byte-level vocabularies split some) all end behind it.
        Special tokens written out in `text` count as plain text.
        """
        ...

    def count(self, text: str) -> int:
        """The number of tokens of `text`."""
        ...


class ByteEstimate:
    """For models whose tokenizer is unknown: one token for every three UTF-8 bytes.

    English prose needs about one token for 4.3 bytes, code one for 3.2, and Chinese about one a
    character (three bytes), so the estimate is on the high side. It is not a bound; the bound
    is `worst_case`, which the window is checked against.
    """

    name = "estimate"
    exact = False
    bytes_per_token = 3

    def ends(self, text: str) -> Sequence[int]:
        """See `Tokenizer.ends`; O(len(text))."""
        if text.isascii():  # by far the most frequent case, and a hundred times faster
            return [
                *range(self.bytes_per_token, len(text), self.bytes_per_token),
                *([len(text)] if text else []),
            ]
        found: list[int] = []
        bytes_seen = 0
        for offset, character in enumerate(text, start=1):
            bytes_seen += utf8_length(character)
            while bytes_seen >= self.bytes_per_token * (len(found) + 1):
                found.append(offset)
        if bytes_seen > self.bytes_per_token * len(found):
            found.append(len(text))
        return found

    def count(self, text: str) -> int:
        """Bytes divided by three, rounded up."""
        return -(-worst_case(text) // self.bytes_per_token)


def utf8_length(character: str) -> int:
    """Bytes of one character in UTF-8 (a lone surrogate counts three)."""
    point = ord(character)
    return 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4


def worst_case(text: str) -> int:
    """The most tokens that `text` can have: every known vocabulary spends at least a byte a token."""
    return len(text.encode("utf-8", "surrogatepass"))
