"""A memory as text for the terminal, with what its last change added and removed marked."""

from __future__ import annotations

import difflib
import re

from rich.console import Console
from rich.text import Text

from memagent.reading.protocols import NO_MEMORY

_WORD = re.compile(r"(\S+)(\s*)")


def shown_memory(before: str, after: str) -> Text:
    """`after`, with words new since `before` in green and words gone since struck through in red."""
    old = [] if before == NO_MEMORY else printable(before).split()
    new = _WORD.findall(printable(after))
    text = Text()
    matcher = difflib.SequenceMatcher(None, old, [word for word, _ in new], autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind in ("delete", "replace"):
            text.append(" ".join(old[old_from:old_to]), style="red strike")
            text.append(" ")
        text.append("".join(word + space for word, space in new[new_from:new_to]), style=_STYLES.get(kind, ""))
    return text


def printable(text: str) -> str:
    """`text` without control characters: what a document or a model says must not steer the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STYLES = {"insert": "green", "replace": "green"}


def last_lines(text: Text, width: int, lines: int) -> Text:
    """The end of a text that fills at most so many lines of a terminal, with a mark for what is left out."""
    wrapped = text.wrap(Console(width=width), width)
    if len(wrapped) <= lines:
        return text
    hidden = Text(f"… {len(wrapped) - lines + 1} lines above\n", style="dim")
    return Text.assemble(hidden, Text("\n").join(wrapped[-max(1, lines - 1) :]))
