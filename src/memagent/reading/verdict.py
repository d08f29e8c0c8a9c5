"""Whether a reading answered, found nothing, or missed a part; from its words and counts alone."""

from __future__ import annotations

import re

from memagent.reading.protocols import NO_MEMORY
from memagent.reading.result import Status

_NOTHING = re.compile(
    r"\b(?:not (?:found|mentioned|stated|specified|provided|given|available|known|enough information)"
    r"|no (?:relevant |previous )?(?:information|mention|answer|memory)"
    r"|(?:is|are|remains?) unknown"
    r"|(?:cannot|can't|can not|could not) be (?:determined|answered|found))\b"
    r"|^\W*(?:unknown|none|n/a)\W*$",
    re.IGNORECASE,
)
# A longer answer that contains such words says more than that nothing was found.
_SHORT = 160


def judge(answer: str, memory: str, *, failed: int, turns: int) -> Status:
    """The status of a reading of so many `turns`, of which so many `failed`.

    A part that could not be read outweighs what was found elsewhere.
    """
    if failed == turns:
        return "unread"
    if failed:
        return "partial"
    nothing = len(answer) <= _SHORT and _NOTHING.search(answer) is not None
    return "not_found" if not answer or memory == NO_MEMORY or nothing else "answered"
