"""A reader's model made of rules, for tests: notes every `KEY n is V` it sees and answers with its memory."""

from __future__ import annotations

import re

from memagent import Settings
from memagent.errors import TurnRefused

SECTION = re.compile(r"<section>\n(.*)\n</section>", re.DOTALL)
MEMORY = re.compile(r"<memory>\n(.*)\n</memory>", re.DOTALL)
FACT = re.compile(r"Key \d+ is \w+\.")


def oracle(request):
    """Follow the protocol that the prompt shows: keep, add or rewrite; answer with all facts in order."""
    text = request.prompt.text
    memory = MEMORY.search(text)[1]
    section = SECTION.search(text)
    if section is None:
        return "\\boxed{" + " ".join(FACT.findall(memory)) + "}"
    new = [fact for fact in FACT.findall(section[1]) if fact not in memory]
    if "Keep" not in text:
        return "\n".join([*FACT.findall(memory), *new]) or "nothing yet"
    return "Add: " + "\n".join(new) if new else "Keep"


def document_text(chunks=40, every=7, words=30):
    """Paragraphs of filler, with a fact in each `every`-th."""
    paragraphs = []
    for number in range(chunks):
        filler = " ".join(f"word{number}x{at}" for at in range(words))
        fact = f" Key {number} is value{number}." if number % every == 3 else ""
        paragraphs.append(f"{filler}.{fact}\n\n")
    return "".join(paragraphs)


GATED = Settings(protocol="gated", chunk_tokens=80, memory_tokens=200)
PAPER = Settings(protocol="paper", chunk_tokens=80, memory_tokens=200)
FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]


def refuses(request):
    """The oracle behind a filter that dislikes one word."""
    section = SECTION.search(request.prompt.text)
    if section and "word20x7 " in section[1]:
        raise TurnRefused("content filter")
    return oracle(request)


def sections(model):
    return [SECTION.search(r.prompt.text)[1] for r in model.requests if SECTION.search(r.prompt.text)]
