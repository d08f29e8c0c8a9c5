"""What of a reply is taken, and what of the section is shown again before or after that.

Changes that are not sure enough, or that the section does not say, are held back.

It does not know models, prompts or memories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memagent.reading.protocols import Update
from memagent.reading.quotes import Quotes, quoted
from memagent.reading.result import Doubt

KEEP = Update("keep")


@dataclass(frozen=True, slots=True)
class Taken:
    """The update that is settled, what was quoted in it, and what held back another one."""

    update: Update
    quotes: Quotes = field(default_factory=Quotes)
    doubt: Doubt | None = None


def taken(update: Update, section: str, memory: str, *, sure: float | None, gate: float, verbatim: bool) -> Taken:
    """What is taken of an update of `memory` that `section` led to.

    `sure` is the probability of its first token (None: not known, which is sure enough), `gate` the least that is
    asked for; with `verbatim` an addition comes down to its quotes of the section, a new memory to those of the old one
    and of the section.
    """
    if update.outcome not in ("add", "write"):
        return Taken(update)
    if sure is not None and sure < gate:
        return Taken(KEEP, doubt="unsure")
    if update.outcome == "write":
        return _written(update, section, memory) if verbatim else Taken(update)
    quotes = quoted(section, update.text)
    if not verbatim:
        return Taken(update, quotes)
    return Taken(Update("add", quotes.text), quotes) if quotes.text else Taken(KEEP, quotes, "ungrounded")


def _written(update: Update, section: str, memory: str) -> Taken:
    """What of a new memory is quotes of the old one and of the section."""
    known = "\n\n".join([*memory.split("\n"), section])  # lines of a memory are not wrapped ones
    text = quoted(known, update.text).text
    return Taken(Update("write", text)) if text else Taken(KEEP, doubt="ungrounded")


def without(text: str, quotes: Sequence[str]) -> str:
    """`text` without each of the quotes."""
    for quote in quotes:
        text = text.replace(quote, "")
    return text


def passage(text: str, quotes: Sequence[str], share: float) -> str:
    """The stretch of `text` from the first quote to the last, and around it as much as makes it `share` of the text.

    It begins and ends at white space.
    """
    places = [(at, at + len(quote)) for quote in quotes if (at := text.find(quote)) >= 0]
    if not places:
        return text
    start, end = min(first for first, _ in places), max(last for _, last in places)
    margin = max(0, round(len(text) * share) - (end - start)) // 2
    start, end = max(0, start - margin), min(len(text), end + margin)
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    while end < len(text) and not text[end].isspace():
        end += 1
    return text[start:end]
