"""A memory as text for the terminal, with what its last change added and removed marked."""

from __future__ import annotations

import difflib
import re

from rich.text import Text

from memagent.reading.protocols import NO_MEMORY

_WORDS = re.compile(r"\S+\s*|\s+")


def shown_memory(before: str, after: str) -> Text:
    """`after`, with words new since `before` in green and words gone since struck through in red."""
    old, new = [] if before == NO_MEMORY else _WORDS.findall(before), _WORDS.findall(after)
    text = Text()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind in ("delete", "replace"):
            text.append("".join(old[old_from:old_to]).strip(), style="red strike")
            text.append(" ")
        text.append("".join(new[new_from:new_to]), style="" if kind == "equal" else "green")
    return text
