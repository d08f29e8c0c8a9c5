"""How turns are worded and how replies are parsed: `paper`, to the letter, and `gated`.

A protocol turns (problem, memory, chunk) into a prompt and a reply into an outcome. It does not call
models, does not keep memories, and does not know where a chunk came from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from memagent.errors import OptionError
from memagent.models.base import Prompt

NO_MEMORY = "No previous memory"

# What a reply does to the memory. `empty` leaves it as it was; of a `malformed` reply (one that begins with
# none of the protocol's words) the reader takes only what it finds in the chunk. Both are counted.
Outcome = Literal["keep", "add", "write", "done", "malformed", "empty"]


@dataclass(frozen=True, slots=True)
class Update:
    """A parsed reply: what it does, and the text it does it with ("" for none)."""

    outcome: Outcome
    text: str = ""


class ReadingProtocol(Protocol):
    """Wording and parsing. All texts handed in are already guarded (see `guard.py`).

    `one_token` is the reply that is complete as its first token. `exact_slices` asks for chunks that are
    exact token slices. `can_keep` tells whether a turn may leave the memory alone, so that reading
    ahead can pay.
    """

    name: str
    one_token: str | None
    exact_slices: bool
    can_keep: bool

    def update_prompt(self, problem: str, memory: str, chunk: str) -> Prompt:
        """The prompt that shows one chunk."""
        ...

    def answer_prompt(self, problem: str, memory: str) -> Prompt:
        """The prompt that asks for the answer; it never shows the document."""
        ...

    def parse_update(self, reply: str) -> Update:
        """What the reply to `update_prompt` does to the memory."""
        ...


_PAPER_UPDATE = (
    "You are presented with a problem, a section of an article that may contain the answer to the problem, "
    "and a previous memory. Please read the provided section carefully and update the memory with the new "
    "information that helps to answer the problem. Be sure to retain all relevant details from the previous "
    "memory while adding any new, useful information.\n"
    "\n<problem> \n{problem}\n</problem>\n"
    "\n<memory>\n{memory}\n</memory>\n"
    "\n<section>\n{chunk}\n</section>\n"
    "\nUpdated memory:\n"
)
_PAPER_ANSWER = (
    "You are presented with a problem and a previous memory. Please answer the problem based on the previous "
    "memory and {form}.\n"
    "\n<problem> \n{problem}\n</problem>\n"
    "\n<memory>\n{memory}\n</memory>\n"
    "\nYour answer:\n"
)


# How an answer is to be given: in a box, as in training and in `ask`, or in the sentence that the published
# evaluation asks for.
AnswerForm = Literal["boxed", "sentence"]
_FORMS: dict[AnswerForm, str] = {
    "boxed": "put the answer in \\boxed{}",
    "sentence": 'format your response as follows "Therefore, the answer is (insert answer here)"',
}


class Paper:
    """MemAgent's published prompts, byte for byte; the memory is re-written at each chunk."""

    name = "paper"
    one_token: str | None = None
    exact_slices = True
    can_keep = False

    def __init__(self, *, answer_form: AnswerForm = "boxed") -> None:
        self._form = _FORMS[answer_form]

    def update_prompt(self, problem: str, memory: str, chunk: str) -> Prompt:
        """See `ReadingProtocol`."""
        return Prompt(segments=(_PAPER_UPDATE.format(problem=problem, memory=memory, chunk=chunk),))

    def answer_prompt(self, problem: str, memory: str) -> Prompt:
        """See `ReadingProtocol`."""
        return Prompt(segments=(_PAPER_ANSWER.format(form=self._form, problem=problem, memory=memory),))

    def parse_update(self, reply: str) -> Update:
        """The whole reply is the new memory, as it came."""
        return Update("write", reply) if reply.strip() else Update("empty")


_GATED_SECTION = "<section>\n{chunk}\n</section>\n"
_GATED_PROBLEM = (
    '\nReply "Keep" if the section does not help with the problem. Otherwise reply "Add:" with the sentences of '
    'the section that help and are not in the memory yet, or "Write:" with a whole new memory.{done}\n'
    "\n<problem>\n{problem}\n</problem>\n"
)
_GATED_DONE = ' Reply "Done" if the memory already holds all that the problem needs.'
_GATED_MEMORY = "\n<memory>\n{memory}\n</memory>"
_GATED_ANSWER = (
    "Answer the problem from the memory alone and put the answer in \\boxed{{}}.\n\n<problem>\n{problem}\n</problem>\n"
)
# The first word with the marks that chat models put around it; a sentence that begins with such a word is none.
_VERB = re.compile(
    r"[\s*`\"'#]*(?:(?P<bare>Keep|Done)\b[*`\"']*(?=\s*(?:$|[.:,;!\n]|-\s))|(?P<with_text>Add|Write)\b[*`\"']*\s*[:\n][*`]*)",
    re.IGNORECASE,
)


class Gated:
    """A gate before the memory: keep it byte for byte with one token, add to it, or write it anew.

    The section comes first, so that several problems share it; the memory stands last, so that a chunk
    tried again with another memory shares all before it. Small models find more with the problem
    behind the section than before it (docs/measurements.md). `may_exit` offers a fourth reply that ends the
    reading.
    """

    name = "gated"
    one_token: str | None = "Keep"
    exact_slices = False
    can_keep = True

    def __init__(self, *, may_exit: bool = False) -> None:
        self.may_exit = may_exit

    def update_prompt(self, problem: str, memory: str, chunk: str) -> Prompt:
        """See `ReadingProtocol`; three segments, of which the first two are shared."""
        asked = _GATED_PROBLEM.format(problem=problem, done=_GATED_DONE if self.may_exit else "")
        segments = (_GATED_SECTION.format(chunk=chunk), asked, _GATED_MEMORY.format(memory=memory))
        return Prompt(segments=segments, shared=2)

    def answer_prompt(self, problem: str, memory: str) -> Prompt:
        """See `ReadingProtocol`."""
        segments = (_GATED_ANSWER.format(problem=problem), _GATED_MEMORY.format(memory=memory))
        return Prompt(segments=segments, shared=1)

    def parse_update(self, reply: str) -> Update:
        """The first word decides; a reply that begins with none of the four is malformed."""
        verb = _VERB.match(reply)
        if verb is None:
            return Update("malformed", reply) if reply.strip() else Update("empty")
        word, text = (verb["bare"] or verb["with_text"]).lower(), reply[verb.end() :].strip()
        if word == "keep":
            return Update("keep")
        if word == "done":
            return Update("done") if self.may_exit else Update("malformed", reply)
        return Update("add" if word == "add" else "write", text) if text else Update("empty")


ProtocolName = Literal["paper", "gated"]


def protocol_named(name: str, *, may_exit: bool = False, answer_form: AnswerForm = "boxed") -> ReadingProtocol:
    """The protocol of that name.

    Raises:
        OptionError: there is none, or it is asked for an exit or a form of answer that it does not have.
    """
    if answer_form not in _FORMS:
        raise OptionError(f"unknown form of answer {answer_form!r}: use {' or '.join(_FORMS)}")
    if name == "gated" and answer_form != "boxed":
        raise OptionError("the gated protocol's answers are boxed: leave out --answer-form or use --protocol paper")
    if name == "gated":
        return Gated(may_exit=may_exit)
    if name != "paper":
        raise OptionError(f"unknown protocol {name!r}: use paper or gated")
    if may_exit:
        raise OptionError("the paper protocol has no exit: leave out --exit or use --protocol gated")
    return Paper(answer_form=answer_form)


_BOXED = re.compile(r"\\(?:boxed|fbox)\s*")
_SENTENCE = re.compile(r".*\bthe answer is\s*:?\s*", re.DOTALL | re.IGNORECASE)


def parse_answer(reply: str, form: AnswerForm = "boxed") -> str:
    """The content of the last `\\boxed{…}` of a reply, else the whole reply; stripped.

    With `form` sentence: what follows the last "the answer is", without a full stop at its end.
    """
    if form == "sentence" and (found_sentence := _SENTENCE.match(reply)):
        return reply[found_sentence.end() :].strip().removesuffix(".")
    found = list(_BOXED.finditer(reply))
    for match in reversed(found):
        inside = _braced(reply, match.end())
        if inside is not None:
            return inside.strip()
    return reply.strip()


def _braced(text: str, start: int) -> str | None:
    """What stands between the brace at `start` and the one that closes it; None where there is no pair."""
    if not text.startswith("{", start):
        return None
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 1 : at]
    return None
