"""The published reward and metrics, to the letter, their faults included. For strict ones see `strict.py`.

They take the reply as it is and find the answer in it by rules of their own.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

_TAIL = 300  # characters of a reply that the training reward looks at
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_CONTROL = re.compile(r"[\x00-\x1f]")
_PHRASE = "the answer is"
_TURN_MARKS = ("<｜Assistant｜>", "<｜end▁of▁sentence｜>")
# In this order: `\\` becomes one backslash before commands are looked for.
_REWRITES = (
    ("\n", ""),
    ("\\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("\\left", ""),
    ("\\right", ""),
    ("^{\\circ}", ""),
    ("^\\circ", ""),
    ("\\$", ""),
    ("\\%", ""),
    (" .", " 0."),
    ("{.", "{0."),
    (" ", ""),
)


def reward_boxed(reply: str, references: Sequence[str]) -> float:
    """The training reward for short answers: 1 if the last box holds an accepted answer, else 0.

    Only the last 300 characters count, in lower case; both sides are normalised as in `math_form` and compared
    exactly. R = max over y of I(equiv(y, ŷ)) (arXiv 2507.02259, section 3; `reward_score/hotpotqa.py` in its code,
    where an `\\fbox` is found too but then scores 0).
    """
    boxed = _last_boxed(reply[-_TAIL:].lower())
    if boxed is None:
        return 0.0
    return float(any(math_form(boxed) == math_form(reference.lower()) for reference in references))


def math_form(text: str) -> str:
    """The MATH-style normal form that the reward compares: no spaces, no newlines, fewer LaTeX commands."""
    for old, new in _REWRITES:
        text = text.replace(old, new)
    return text


def _last_boxed(text: str) -> str | None:
    """What the published code takes from the last box.

    If `\\boxed ` with a space occurs anywhere, it wins, and counts up to the next `$`. Else the last `\\boxed`
    counts, or without one the last `\\fbox`: a brace must follow at once and be closed.
    """
    if "\\boxed " in text:
        return text.rpartition("\\boxed ")[2].partition("$")[0]
    name = "\\boxed" if "\\boxed" in text else "\\fbox"
    _, found, rest = text.rpartition(name)
    if not found or not rest.startswith("{"):
        return None
    depth = 0
    for at, character in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return rest[1:at]
    return None


def squad_form(text: str) -> str:
    """SQuAD's normal form: lower case, without ASCII punctuation and English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def sub_em(reply: str, references: Sequence[str]) -> float:
    """The published evaluation: 1 if the answer holds the first reference or is held by it, in SQuAD's form.

    The answer is what follows the last "the answer is", in lower case (`extract_answer` of
    `taskutils/memory_eval/utils`); a reply without these words is read as the published runs with boxes are, by its
    last box. Two faults are kept: a fragment of the gold answer is right, and so is what normalises to nothing.
    The third, that failed requests leave the denominator, is not this function's: here they score 0.
    """
    answer = _published_answer(reply)
    if not answer or not references:
        return 0.0
    gold, given = squad_form(references[0]), squad_form(answer)
    return float(gold in given or given in gold)


def _published_answer(reply: str) -> str | None:
    reply = reply.strip().rpartition("</think>")[2].strip() or reply.strip()
    plain = reply.replace("*", "")
    if _PHRASE not in plain:
        return _last_boxed(reply)
    answer = plain.rpartition(_PHRASE)[2].strip()
    for mark in _TURN_MARKS:
        answer = answer.replace(mark, "")
    return answer.strip().strip(".").strip()


def ruler_all(reply: str, references: Sequence[str]) -> float:
    """RULER's string_match_all: the share of references that occur in the reply, in any case."""
    found = _occurring(reply, references)
    return sum(found) / len(found) if found else 0.0


def ruler_part(reply: str, references: Sequence[str]) -> float:
    """RULER's string_match_part, for its QA tasks: 1 if any reference occurs in the reply, in any case."""
    return float(any(_occurring(reply, references)))


def _occurring(reply: str, references: Sequence[str]) -> list[bool]:
    """As NVIDIA/RULER does it: control characters become newlines first (`scripts/eval/evaluate.py`)."""
    prediction = _CONTROL.sub("\n", reply.strip()).strip().lower()
    return [reference.lower() in prediction for reference in references]
