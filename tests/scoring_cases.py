"""Hard cases for the metrics, each worked out by hand from the rules and not from this code.

The eight scores of a case stand in the order of `NAMES`; `why` says what is hard about it.
"""

from __future__ import annotations

from typing import NamedTuple

NAMES = ("reward_boxed", "sub_em", "em", "f1", "contains", "multi_value", "ruler_all", "ruler_part")
THIRD = 2 / 3


class Case(NamedTuple):
    """A reply, the accepted answers, and what each metric must make of them."""

    why: str
    reply: str
    references: list[str]
    scores: tuple[float, float, float, float, float, float, float, float]

    @property
    def row(self) -> str:
        """The case as docs/scoring.md shows it."""
        shown = [f"`{text}`".replace("\n", "⏎") if text else "(empty)" for text in (self.reply, *self.references)]
        scores = [f"{score:.2g}" for score in self.scores]
        return f"| {' | '.join([self.why, shown[0], ', '.join(shown[1:]), *scores])} |"


CASES = [
    # Where the answer stands.
    Case("a box", r"\boxed{Paris}", ["Paris"], (1, 1, 1, 1, 1, 1, 1, 1)),
    Case("a sentence: the reward wants a box", "Therefore, the answer is Paris.", ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("sub_em knows the phrase in lower case only", "The answer is Paris.", ["Paris"], (0, 0, 1, 1, 1, 1, 1, 1)),
    Case("neither box nor phrase: sub_em finds no answer", "Paris", ["Paris"], (0, 0, 1, 1, 1, 1, 1, 1)),
    # sub_em reads from the phrase on: "rome boxedparis" holds "paris".
    Case("a phrase and a box", "I think the answer is Rome.\n\\boxed{Paris}", ["Paris"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # "boxedjohn" is not in "john f kennedy": from the phrase on, a box hides the fragment that sub_em lets pass.
    Case("a box behind the phrase", r"the answer is \boxed{John}", ["John F. Kennedy"], (0, 0, 0, 0.5, 0, 0, 0, 0)),
    Case("the last of two boxes", r"First \boxed{Rome}, then \boxed{Paris}.", ["Rome"], (0, 0, 0, 0, 0, 0, 1, 1)),
    Case("the last of two phrases", "the answer is Rome. No, the answer is Paris.", ["Rome"], (0, 0, 0, 0, 0, 0, 1, 1)),
    Case("nested braces", r"\boxed{f_{1}(x_{2})}", ["f_{1}(x_{2})"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # Nothing is found in it, so the whole reply is the answer: "boxedparis" in SQuAD's form.
    Case("a box that is never closed", r"\boxed{Paris", ["Paris"], (0, 0, 0, 0, 0, 1, 1, 1)),
    Case("the last box is not closed", r"\boxed{Paris} or \boxed{Rome", ["Paris"], (0, 0, 1, 1, 1, 1, 1, 1)),
    Case("a box 300 characters from the end", r"\boxed{Paris}" + " x" * 150, ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("a box that the 300 characters cut", r"\boxed{Paris}" + "." * 290, ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("a box that just fits them", r"\boxed{Paris}" + "." * 287, ["Paris"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # Strict: no braces, so the whole reply "boxed paris it is" is the answer, one word of four.
    Case("a box without braces", r"$\boxed Paris$ it is", ["Paris"], (1, 1, 0, 0.4, 1, 1, 1, 1)),
    # The braces stay in what the reward compares.
    Case("a space before the brace", r"\boxed {Paris}", ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case(
        "a box with a space wins over a later box", r"\boxed Rome$ \boxed{Paris}", ["Paris"], (0, 0, 1, 1, 1, 1, 1, 1)
    ),
    Case("fbox", r"\fbox{Paris}", ["Paris"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # Only the reward lower-cases before it looks for the box.
    Case("a box in capitals", r"\BOXED{PARIS}", ["paris"], (1, 0, 0, 0, 0, 1, 1, 1)),
    Case("a text in LaTeX's dress", r"\boxed{\text{Paris}}", ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("bold", "So the answer is **Paris**.", ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("thinking", "<think>the answer is Rome</think>the answer is Paris", ["Rome"], (0, 0, 0, 0, 0, 0, 1, 1)),
    Case("the sentence ends", "So the answer is Paris. It lies on the Seine.", ["Paris"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("initials", "the answer is J. R. R. Tolkien. He wrote.", ["J. R. R. Tolkien"], (0, 1, 1, 1, 1, 1, 1, 1)),
    # Nothing, or next to nothing.
    Case("an empty reply", "", ["Paris"], (0, 0, 0, 0, 0, 0, 0, 0)),
    Case("an empty box", r"\boxed{}", ["Paris"], (0, 0, 0, 0, 0, 0, 0, 0)),
    Case("an empty box and an empty reference", r"\boxed{}", [""], (1, 0, 0, 0, 0, 0, 1, 1)),
    Case("an empty reference", r"\boxed{Paris}", [""], (0, 1, 0, 0, 0, 0, 1, 1)),
    Case("no reference", r"\boxed{Paris}", [], (0, 0, 0, 0, 0, 0, 0, 0)),
    # An article normalises to nothing, and nothing is in everything: sub_em's fault.
    Case("a reply of an article", "so the answer is the.", ["Paris"], (0, 1, 0, 0, 0, 0, 0, 0)),
    Case("a reply of a mark", r"\boxed{?}", ["Paris"], (0, 1, 0, 0, 0, 0, 0, 0)),
    Case("a reference of articles", r"\boxed{Paris}", ["The The"], (0, 1, 0, 0, 0, 0, 0, 0)),
    Case("articles that are right", r"\boxed{The The}", ["The The"], (1, 1, 1, 1, 1, 1, 1, 1)),
    Case("a letter that is an article, wrong", r"\boxed{B}", ["A"], (0, 1, 0, 0, 0, 0, 0, 0)),
    Case("a letter that is an article, right", r"\boxed{A}", ["A"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # Parts.
    Case("a fragment of the gold answer", r"\boxed{John}", ["John F. Kennedy"], (0, 1, 0, 0.5, 0, 0, 0, 0)),
    Case("more than the gold answer", r"\boxed{Paris, France}", ["Paris"], (0, 1, 0, THIRD, 1, 1, 1, 1)),
    Case("no metric reads a not", r"\boxed{not Paris}", ["Paris"], (0, 1, 0, THIRD, 1, 1, 1, 1)),
    Case("yes in yesterday", "So the answer is yesterday.", ["yes"], (0, 1, 0, 0, 0, 0, 1, 1)),
    # HotpotQA's F1 takes yes and no as a whole.
    Case("yes and more", r"\boxed{yes, they were}", ["yes"], (0, 1, 0, 0, 1, 1, 1, 1)),
    Case("a number in a longer number", r"\boxed{41235}", ["123"], (0, 1, 0, 0, 0, 0, 1, 1)),
    Case("a later reference is met", r"\boxed{USA}", ["United States", "USA"], (1, 0, 1, 1, 1, 0.5, 0.5, 1)),
    # Y is a set of three for multi_value, a list of four for RULER.
    Case("values, one twice", r"\boxed{12, 34}", ["12", "34", "12", "56"], (0, 1, 0, THIRD, 1, THIRD, 0.75, 1)),
    # One answer ends with its line or sentence, several values do not.
    Case("values on lines", "The answer is:\n12\n34", ["12", "34"], (0, 0, 1, 1, 1, 1, 1, 1)),
    Case("values in sentences", "the answer is 12. It is also 34.", ["34", "12"], (0, 1, 1, 1, 1, 1, 1, 1)),
    # SQuAD's form joins what only a comma parts.
    Case("values without spaces", r"\boxed{12345,54321}", ["12345", "54321"], (0, 1, 0, 0, 0, 1, 1, 1)),
    # How it is written.
    Case("case and spaces", r"\boxed{ NEW   york }", ["New York"], (1, 1, 1, 1, 1, 1, 0, 0)),
    Case("a newline for a space", "\\boxed{New\nYork}", ["New York"], (1, 1, 1, 1, 1, 1, 0, 0)),
    Case("a no-break space", "\\boxed{New\u00a0York}", ["New York"], (0, 1, 1, 1, 1, 1, 0, 0)),
    Case("the reward is blind to spaces", r"\boxed{thera pist}", ["therapist"], (1, 0, 0, 0, 0, 0, 0, 0)),
    # RULER makes newlines of control characters in the prediction, and not in the reference.
    Case("a tab", "x\ty", ["x\ty"], (0, 0, 1, 1, 1, 1, 0, 0)),
    Case("a comma in a number", r"\boxed{3,677}", ["3677"], (0, 1, 1, 1, 1, 0, 0, 0)),
    Case("an escaped percent sign", r"\boxed{50\%}", ["50"], (1, 1, 1, 1, 1, 1, 1, 1)),
    Case("a bare percent sign", r"\boxed{50%}", ["50"], (0, 1, 1, 1, 1, 1, 1, 1)),
    Case("an escaped dollar sign", r"\boxed{\$5}", ["5"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # In SQuAD's form it is "90circ".
    Case("degrees", r"\boxed{90^\circ}", ["90"], (1, 1, 0, 0, 0, 1, 1, 1)),
    Case("a unit", r"\boxed{5 km}", ["5"], (0, 1, 0, THIRD, 1, 1, 1, 1)),
    # The short reward has no rule for fractions; SQuAD's form of both is "frac12".
    Case("a fraction without braces", r"\boxed{\frac12}", [r"\frac{1}{2}"], (0, 1, 1, 1, 1, 0, 0, 0)),
    Case("a display fraction", r"\boxed{\dfrac{1}{2}}", [r"\frac{1}{2}"], (1, 1, 0, 0, 0, 0, 0, 0)),
    # " ." becomes " 0."; a point at the start does not. SQuAD drops points: "5" is in "05".
    Case("a point behind a space", r"\boxed{ .5}", ["0.5"], (1, 1, 0, 0, 0, 0, 0, 0)),
    Case("a point at the start", r"\boxed{.5}", ["0.5"], (0, 1, 0, 0, 0, 0, 0, 0)),
    # Other scripts.
    Case("Chinese in a box", r"答案是 \boxed{北京}", ["北京"], (1, 1, 1, 1, 1, 1, 1, 1)),
    # No spaces part the words, so the sentence is one token; whole words are not asked of Chinese.
    Case("Chinese in a sentence", "首都是北京。", ["北京"], (0, 0, 0, 0, 1, 1, 1, 1)),
    Case("an accent as a character of its own", "\\boxed{Café}", ["Cafe\u0301"], (0, 0, 0, 0, 0, 0, 0, 0)),
    Case("a curly apostrophe", "\\boxed{O’Brien}", ["O'Brien"], (0, 0, 0, 0, 0, 0, 0, 0)),
]
