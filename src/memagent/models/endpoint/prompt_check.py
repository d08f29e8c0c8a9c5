"""Notices that an endpoint read less of a prompt than it was sent (as Ollama does beyond num_ctx).

It compares the prompt tokens that the endpoint reports with ours. With the model's own tokenizer that is
a count; without, a lower bound from the text and the sight of one number that never moves.
It knows no endpoint and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from memagent.tokens import ByteEstimate

# Reported tokens below this share of what the prompt must have are a cut; templates only add tokens.
SHARE = 0.9
# A plateau: prompts of sizes that differ by more than APART report the very same count, the highest so far.
# Limits are round numbers or half of one (Ollama keeps num_ctx, or num_ctx / 2 + 2, tokens), so a count near
# a multiple of 256 needs fewer witnesses than one that could be chance.
APART, SMALLEST, WITNESSES, WITNESSES_ODD = 0.02, 512, 3, 6

_WORD = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_'" + bytes(range(128, 256))
_CLASSES = bytes(ord("w" if byte in _WORD else " " if byte in b" \t\n\v\f\r" else ".") for byte in range(256))


def fewest_tokens(text: str) -> int:
    """The fewest tokens that a vocabulary which splits at white space can have for `text`.

    Each run of word characters is one at least, and so is a run of marks unless a word follows (the last
    mark may be part of its first token). Bytes beyond ASCII count as word characters, so that scripts
    without spaces are never overcounted. Byte classes rather than a regular expression: five times faster.
    """
    classes = text.encode("utf-8", "surrogatepass").translate(_CLASSES)
    words = classes.count(b" w") + classes.count(b".w") + classes.startswith(b"w")
    return words + classes.count(b". ") + classes.endswith(b".")


class PromptCheck:
    """Watches one endpoint. `count` is the exact token count of a text, None where no tokenizer is known."""

    def __init__(self, count: Callable[[str], int] | None = None) -> None:
        self._count = count
        self._highest = 0
        self._sizes: list[int] = []

    def lost(self, text: str, reported: int) -> int | None:
        """How many tokens `text` has at least (exactly, or by estimate) if some did not arrive; else None."""
        least = fewest_tokens(text)
        if reported < SHARE * least:
            return max(least, self._size(text))
        if self._count is not None:
            exact = self._count(text)
            return exact if reported < SHARE * exact else None
        return self._plateau(text, reported)

    def _size(self, text: str) -> int:
        return ByteEstimate().count(text) if self._count is None else self._count(text)

    def _plateau(self, text: str, reported: int) -> int | None:
        if reported < max(self._highest, SMALLEST):
            self._sizes.clear()
            return None
        if reported > self._highest:
            self._highest = reported
            self._sizes.clear()
        size = self._size(text)
        if all(abs(size - other) > APART * max(size, other) for other in self._sizes):
            self._sizes.append(size)
        near_round = min(reported % 256, -reported % 256) <= 4
        needed = WITNESSES if near_round else WITNESSES_ODD
        return max(self._sizes) if len(self._sizes) >= needed else None
