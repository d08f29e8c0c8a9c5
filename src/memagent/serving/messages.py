"""From a chat's messages to what a reader needs: a document, a problem, and how the answer is to begin.

Pure functions; they do not know HTTP, models or readers. Sizes are characters, as no tokenizer is needed to see that a
paragraph is long.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A problem is a paragraph or a line of at most so many characters; what is longer is document.
LONGEST_PROBLEM = 4_000
# The newest turns of a history that stay as they are, beside the document that the older ones become.
VERBATIM = 4_000
# A paragraph of several lines beyond this is taken apart: of RULER's prompts the question is the last line.
LONG_PARAGRAPH = 600
# Turns are told apart by who spoke.
_SPEAKERS = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_OPENS = re.compile(r"<(documents?|context|article)\b[^<>]*>\n?", re.IGNORECASE)
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")


@dataclass(frozen=True, slots=True)
class Said:
    """One message: who spoke, and the text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read for. `prefill` is how the answer is to begin ("": as it likes)."""

    document: str
    problem: str
    prefill: str = ""


def asked(messages: Sequence[Said], given: Sequence[str] = ()) -> Asked | None:
    """Document and problem of a chat; None where there is nothing to read for.

    `given` are documents that came beside the messages: then the last message is the problem. Else the document is
    tagged in the last message (`<document>…</document>`), or that message without its last (or first) paragraph or its
    last line. Where the last message is all problem, the turns before it are the document, the newest of them kept
    verbatim beside the problem. A trailing message of the assistant is the beginning of the answer.
    """
    turns, prefill = _prefilled(messages)
    if not turns:
        return None
    *history, last = turns
    instructions = "\n".join(one.text for one in history if one.role in ("system", "developer")).strip()
    history = [one for one in history if one.role not in ("system", "developer")]
    older, newest = _parted(history)
    if given:
        document, problem = "\n\n".join(given), last.text
        older, newest = [], history if _length(history) <= VERBATIM else newest
    else:
        document, problem = split(last.text)
    if not problem.strip():
        return None
    document = "\n\n".join(part for part in (_told(older), document) if part)
    if not document:
        document, newest = _told([*older, *newest]), []
    if not document.strip():
        return None
    short = instructions if len(instructions) <= LONGEST_PROBLEM else ""
    if not short and instructions:
        document = f"{instructions}\n\n{document}"
    spoken = "\n\n".join(part for part in (short, _told(newest), problem.strip()) if part)
    return Asked(document, spoken, prefill)


def split(text: str) -> tuple[str, str]:
    """A message as document and problem; the document is "" where it is all problem, and the other way round."""
    tagged, rest = _untagged(text)
    if tagged and rest.strip():
        return "\n\n".join(tagged), rest.strip()
    if len(text) <= LONGEST_PROBLEM and not _PARAGRAPH.search(text.strip()):
        return "", text
    parts = _PARAGRAPH.split(text.strip())
    last = parts[-1]
    if len(parts) > 1 and len(last) <= LONG_PARAGRAPH:
        return _before(text, last), last
    lines = last.splitlines()
    if len(lines) > 1 and len(lines[-1]) <= LONGEST_PROBLEM:
        return _before(text, lines[-1]), lines[-1]
    if len(parts) > 1 and len(parts[0]) <= LONG_PARAGRAPH:
        return text.strip()[len(parts[0]) :].strip(), parts[0]
    if len(parts) > 1 and len(last) <= LONGEST_PROBLEM:
        return _before(text, last), last
    return text, ""


def _untagged(text: str) -> tuple[list[str], str]:
    """What stands inside tags of documents, and the text without them; in one pass, as anybody may send anything."""
    inside, outside, at = [], [], 0
    unclosed: set[str] = set()
    lowered = text.lower() if len(text.lower()) == len(text) else text
    for tag in _OPENS.finditer(text):
        name = tag[1].lower()
        if tag.start() < at or name in unclosed:
            continue
        end = lowered.find(f"</{name}>", tag.end())
        if end < 0:
            unclosed.add(name)
            continue
        inside.append(text[tag.end() : end].removesuffix("\n"))
        outside.append(text[at : tag.start()])
        at = end + len(f"</{name}>")
    return inside, "".join([*outside, text[at:]])


def _before(text: str, end: str) -> str:
    return text[: text.rindex(end)].rstrip()


def _prefilled(messages: Sequence[Said]) -> tuple[list[Said], str]:
    turns = [one for one in messages if one.text or one.role == "user"]
    end = len(turns)
    while end and turns[end - 1].role == "assistant":
        end -= 1
    return turns[:end], "".join(one.text for one in turns[end:])


def _parted(history: Sequence[Said]) -> tuple[list[Said], list[Said]]:
    """The older turns, and the newest ones that are short together."""
    length, first = 0, len(history)
    while first and length + len(history[first - 1].text) <= VERBATIM:
        first -= 1
        length += len(history[first].text)
    return list(history[:first]), list(history[first:])


def _length(turns: Sequence[Said]) -> int:
    return sum(len(one.text) for one in turns)


def _told(turns: Sequence[Said]) -> str:
    """Turns as a text, each with who spoke."""
    return "\n\n".join(f"{_SPEAKERS.get(one.role, one.role)}: {one.text}" for one in turns)
