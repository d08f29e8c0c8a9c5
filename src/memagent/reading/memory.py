"""The rule by which a reply becomes the next memory; stated once, counted in the tally.

- keep, done, empty: the old memory stays byte for byte.
- malformed (the reply begins with none of the protocol's words): the sentences of it that the chunk says in
  nearly the same words, and that speak of the problem, are added (`evidence.grounded`); without any, the
  old memory stays.
- write: the reply's text is the memory. add: it stands on a new line behind the old memory (or
  replaces "No previous memory"); a line that stands there already is not added again.
- An addition that does not fit takes the place of lines that are less sure than it (`sure`: the probabilities with
  which the model began the turns that added them; a line of unknown origin is certain), the least sure first, the
  older of equals last. This counts as trimmed.
- A reply that was stopped by its token limit stays as far as it came and counts as trimmed.
- A memory over its budget is cut at the last sentence end that fits (else at the last token) and counts
  as trimmed, too. Where tokens are only estimated, only what is certainly too long is cut.

It does not know prompts, models or chunks.
"""

from __future__ import annotations

from collections.abc import Mapping

from memagent.reading.protocols import NO_MEMORY, Update
from memagent.reading.words import sentences
from memagent.tokens import Tokenizer

# A text that was generated within the budget can count a few tokens more when tokenised again.
_SLACK = 16
# No vocabulary spends a token on more bytes than this, on average, in any prose.
_LONG_TOKEN = 8


def settle(
    update: Update,
    old: str,
    budget: int,
    tokenizer: Tokenizer,
    *,
    sure: Mapping[str, float] | None = None,
    surety: float = 1.0,
) -> tuple[str, bool]:
    """The memory after `update`, at most `budget` tokens long, and whether it had to be trimmed.

    `surety` is the addition's own probability.
    """
    if update.outcome == "write":
        return trim(update.text, budget, tokenizer)
    if update.outcome != "add":
        return old, False
    lines = [] if old == NO_MEMORY else old.split("\n")
    added = [line for line in update.text.split("\n") if line not in lines]
    if not any(line.strip() for line in added):
        return old, False
    kept = _less(lines, added, budget, tokenizer, sure or {}, surety)
    before = "\n".join(kept)
    memory, trimmed = trim("\n".join([*kept, *added]), budget, tokenizer)
    # What does not fit must not cost what is there.
    return (memory if memory.startswith(before) else before), trimmed or len(kept) < len(lines)


def _less(
    lines: list[str], added: list[str], budget: int, tokenizer: Tokenizer, sure: Mapping[str, float], surety: float
) -> list[str]:
    """The lines without those that leave for `added`; all where it would not fit even so."""
    kept = list(lines)
    while trim("\n".join([*kept, *added]), budget, tokenizer)[1]:
        weakest = min(reversed(kept), key=lambda line: sure.get(line, 1.0), default=None)
        if weakest is None or sure.get(weakest, 1.0) >= surety:
            return lines  # what leaves would make too little room
        kept.remove(weakest)
    return kept


def trim(text: str, budget: int, tokenizer: Tokenizer) -> tuple[str, bool]:
    """`text` cut to `budget` tokens at a sentence end, and whether that was needed."""
    if not tokenizer.exact:
        budget = budget * _LONG_TOKEN // 3
    ends = tokenizer.ends(text)
    if len(ends) <= budget + budget // _SLACK:
        return text, False
    fits = text[: ends[budget - 1]]
    whole = [end for _, end in sentences(fits)[:-1]]
    return (fits[: whole[-1]] if whole and whole[-1] > len(fits) // 2 else fits), True
