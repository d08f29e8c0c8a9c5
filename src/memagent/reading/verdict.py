"""Whether a reading answered, found nothing, or missed a part; from its words and counts alone."""

from __future__ import annotations

import re

from memagent.reading.protocols import NO_MEMORY
from memagent.reading.result import Status
from memagent.reading.words import flat, sentences

# All patterns are for text of lower-case words with single spaces between them.
_TEXT = r"(?:memory|texts?|documents?|sections?|passages?|context|excerpts?)"
_THE_TEXT = rf"(?:(?:the|this|my|any) )?(?:\w+ ){{0,2}}{_TEXT}"
_IN_IT = rf" (?:anywhere )?(?:in|by|from|within) {_THE_TEXT}"
_TOLD = r"(?:\w+ly )?(?:found|mentioned|stated|specified|provided|given|available|known)"
_TELL = (
    r"(?:\w+ly )?(?:contain|mention|say|state|specify|provide|give|include|tell|indicate|answer|have (?:any|enough))"
)
_INFORMATION = r"(?:\w+ ){0,2}(?:information|mention|answer|details?)"
_LEARN = r"(?:find|determine|answer|tell|say)"
_REST = r"(?: (?!but |however )\w+)*"  # no second thought in it
_TOPIC = r"(?: (?:about|of|on|for|to|regarding)(?: (?!(?:is|are|was|were|has|have|had) )\w+)+)"
_OPENING = rf"(?:sorry|unfortunately|therefore|so|thus|(?:in|from|based on|according to) {_THE_TEXT})"

_NOTHING = re.compile(
    rf"(?:.+ (?:but|however) )?(?:{_OPENING} )?(?:"
    + "|".join(
        [
            r"unknown|none|n a|nothing|no previous memory",
            rf"(?:.+ (?:is|are) |(?:.+ )?(?:answer|information) (?:was|were) )?not {_TOLD}",
            rf"(?:(?:.+ (?:is|are|was|were) )?not|nothing(?: is| was)?)(?: {_TOLD})?{_IN_IT}",
            rf"(?:.+ )?(?:is|are|remains?) unknown(?:{_IN_IT})?",
            rf"(?:.+ )?(?:ca|can|could) ?not be (?:(?:determined|answered|inferred)(?:{_IN_IT})?|found{_IN_IT})",
            rf"no {_INFORMATION}{_TOPIC}?(?:(?: is| was)? {_TOLD})?(?:{_IN_IT})?",
            rf"there (?:is|are) (?:no|not any) {_INFORMATION}{_REST}",
            rf"(?:there is )?(?:not enough|insufficient) information{_REST}",
            rf"{_THE_TEXT}(?: .+ (?:but|however)(?: it)?)? (?:does|do|did) not {_TELL}{_REST}",
            rf"(?:i|we) (?:do not know|(?:ca|can|could) ?not {_LEARN}|(?:am|are) unable to {_LEARN}){_REST}",
        ]
    )
    + ")"
)
_SHORTENED_NOT = re.compile(r"n['\u2019]t\b", re.IGNORECASE)
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
    return "not_found" if not answer or memory == NO_MEMORY or _says_nothing(answer) else "answered"


def _says_nothing(answer: str) -> bool:
    """Whether each sentence of an answer says, as a whole, that nothing was found."""
    said = [flat(_SHORTENED_NOT.sub(" not", answer[start:end])) for start, end in sentences(answer)]
    return 0 < len(answer) <= _SHORT and all(_NOTHING.fullmatch(sentence) for sentence in said)
