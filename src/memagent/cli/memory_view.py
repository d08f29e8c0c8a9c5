"""A memory as text for the terminal, with what its last change added and removed marked."""

from __future__ import annotations

import difflib
import re

from rich.text import Text

_PIECES = re.compile(r"\s+|\S+")


def shown_memory(before: str, after: str) -> Text:
    """`after`, with words new since `before` in green and words gone since struck through in red."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    text = Text()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind in ("delete", "replace") and (gone := "".join(old[old_from:old_to]).strip()):
            text.append(gone, style="red strike")
            text.append(" ")
        fresh = "".join(new[new_from:new_to])
        text.append(fresh, style="green" if kind != "equal" else "")
    return text
