"""The rule by which a reply becomes the next memory; stated once, counted in the tally.

- keep, done, empty: the old memory stays byte for byte.
- malformed (the reply begins with none of the protocol's words): the sentences of it that the chunk says in
  nearly the same words, and that speak of the problem, are added (`evidence.grounded`); without any, the
  old memory stays.
- write: the reply's text is the memory. add: it stands on a new line behind the old memory (or
  replaces "No previous memory").
- A reply that was stopped by its token limit stays as far as it came and counts as trimmed.
- A memory over its budget is cut at the last sentence end that fits (else at the last token) and counts
  as trimmed, too. Where tokens are only estimated, only what is certainly too long is cut.

It does not know prompts, models or chunks.
"""

from __future__ import annotations

from memagent.reading.protocols import NO_MEMORY, Update
from memagent.reading.words import sentences
from memagent.tokens import Tokenizer

# A text that was generated within the budget can count a few tokens more when tokenised again.
_SLACK = 16
# No vocabulary spends a token on more bytes than this, on average, in any prose.
_LONG_TOKEN = 8


def settle(update: Update, old: str, budget: int, tokenizer: Tokenizer) -> tuple[str, bool]:
    """The memory after `update`, at most `budget` tokens long, and whether it had to be trimmed."""
    if update.outcome == "write":
        return trim(update.text, budget, tokenizer)
    if update.outcome == "add":
        return trim(update.text if old == NO_MEMORY else f"{old}\n{update.text}", budget, tokenizer)
    return old, False


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
