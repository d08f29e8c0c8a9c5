"""Keeps text data: what a document says can neither end its section nor speak as the user.

Protocol tags (`</section>`), chat-template tokens (`<|im_end|>`, `[INST]`) and thinking tags get one
word joiner (U+2060, invisible) behind their first character. The rule is reversible to the letter,
because a text that already has joiners there gets one more, and every use is counted.
It does not know protocols, models or documents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

JOINER = "\u2060"

_ANY = f"{JOINER}*"


def _loose(words: str) -> str:
    """A pattern for any of the words (with | between them), whatever joiners stand inside."""
    return "(?:" + "|".join(_ANY.join(map(re.escape, word)) for word in words.split("|")) + ")"


def _run(stops: str, least: int, most: int) -> str:
    """A pattern for characters other than `stops`; joiners do not count."""
    return f"(?:{_ANY}[^{stops}{JOINER}]){{{least},{most}}}{_ANY}"


# What follows the first character of something with a meaning of its own, in the templates known to us.
# Joiners in it change nothing: one thing may stand inside another, and each gets its own joiner.
_SPACE, _SLASH = rf"[\s{JOINER}]*", f"(?:/{_ANY})?"
_TAILS = (
    rf"{_SPACE}(?:/{_SPACE})?{_loose('problem|memory|section|think|thinking')}"
    rf"(?:{_SPACE}|{_ANY}[\s/]{_run('<>', 0, 200)})>",
    rf"{_SLASH}{_loose('s|bos|eos|unk|pad|system|user|assistant|start_of_turn|end_of_turn|tool_call|tool_response')}"
    rf"{_ANY}>",
    rf"\|{_run('|<>' + chr(10), 1, 60)}\|{_ANY}>",
    rf"｜{_run('｜<>' + chr(10), 1, 60)}｜{_ANY}>",
    rf"<{_ANY}{_SLASH}{_loose('SYS>>')}",
    rf"{_SLASH}{_loose('INST]|SYSTEM_PROMPT]|AVAILABLE_TOOLS]|TOOL_CALLS]|TOOL_RESULTS]')}",
)


class Guard:
    """Neutralises tags and template tokens, the given `special_tokens` among them."""

    def __init__(self, special_tokens: Sequence[str] = ()) -> None:
        known = sorted({token for token in special_tokens if len(token) > 2 and token.isprintable()})
        heads = "".join(re.escape(head) for head in sorted({"<", "[", *(token[0] for token in known)}))
        tails = "|".join([*_TAILS, *(_ANY.join(map(re.escape, token[1:])) for token in known)])
        self._plain = re.compile(f"([{heads}])({JOINER}*)(?!{JOINER})(?={tails})", re.IGNORECASE)
        self._marked = re.compile(f"([{heads}])({JOINER}*){JOINER}(?!{JOINER})(?={tails})", re.IGNORECASE)

    def neutralise(self, text: str) -> tuple[str, int]:
        """The text with every tag disarmed, and how many there were."""
        return self._plain.subn(rf"\1\2{JOINER}", text)

    def restore(self, text: str) -> str:
        """The inverse of `neutralise`; also for text that a model copied from a neutralised prompt."""
        return self._marked.sub(r"\1\2", text)
