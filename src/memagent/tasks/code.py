"""Questions over a code base: which file defines a class, and what the default of a parameter is.

Made from the syntax trees of Python files, of a folder of the user's or of the standard library; only
questions with one answer in the files that are shown are asked. It does not know who answers.
"""

from __future__ import annotations

import ast
import platform
import random
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, zip_longest
from pathlib import Path

from memagent.documents.folders import walk
from memagent.errors import DocumentError, InputError, OptionError
from memagent.tasks.choosing import Chosen, choose
from memagent.tasks.measure import Measure, measure_of
from memagent.tasks.packing import Packed, pack
from memagent.tasks.problem import Problem
from memagent.tokens import Tokenizer

MAX_TOKENS = 48  # to generate
LEAST_NAME, LEAST_ANSWER, LONGEST_ANSWER = 6, 3, 60  # letters and digits: shorter ones stand anywhere by chance
HEAD = "These are the files of a code base.\n\n"
TAIL = "\n\nQuestion: {question}\nAnswer with the name or the value only.\nAnswer:"
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question about a file, its answer, the line it rests on, and the name that no other file may speak of."""

    file: int
    name: str
    question: str
    answer: str
    fact: str
    of_class: bool = False


@dataclass(frozen=True, slots=True)
class _Code:
    """A code base: where it is from, its files with their names, and what can be asked."""

    source: str
    names: tuple[str, ...]
    texts: tuple[str, ...]
    asked: tuple[_Asked, ...]


def sample(*, tokens: int, tokenizer: Tokenizer, seed: int = 0, index: int = 0, source: str | None = None) -> Problem:
    """Question number `index` of a fixed shuffle, its file among as many others as fit `tokens`.

    `source` is a folder (default: the standard library's top modules). Where the files run out they are taken
    again, as copies in folders of other names, and the notes say so.

    Raises:
        DocumentError: the folder holds no Python file to ask about.
        InputError: no other file may stand beside the question's own.
        OptionError: the question's own file is longer than `tokens`, or there is no such question.
    """
    return _made(source, seed, index).problem(tokens, measure_of(tokenizer))


def fitting(count: int, *, tokens: int, tokenizer: Tokenizer, source: str | None = None, seed: int = 0) -> Chosen:
    """The first `count` numbers of questions whose file fits `tokens` by itself.

    Raises:
        DocumentError: the folder holds no Python file to ask about.
        OptionError: no file fits.
    """
    measure = measure_of(tokenizer)
    total = len(_code(source).asked)
    return choose("code", total, count, lambda index: _made(source, seed, index).least(measure), tokens, "tokens")


def _made(source: str | None, seed: int, index: int) -> _Made:
    code = _code(source)
    if not 0 <= index < len(code.asked):
        raise OptionError(f"{code.source} gives {len(code.asked)} questions: there is no number {index}")
    return _Made(code, _alternating(code.asked, random.Random(f"{seed}/code"))[index], seed, index)


def _alternating(asked: Sequence[_Asked], rng: random.Random) -> list[_Asked]:
    """In random order, the two kinds in turns while there are both: classes are many, telling defaults few."""
    mixed = rng.sample(asked, len(asked))
    kinds = [one for one in mixed if one.of_class], [one for one in mixed if not one.of_class]
    return [one for pair in zip_longest(*kinds) for one in pair if one is not None]


@dataclass
class _Made:
    """One question over its file among others."""

    code: _Code
    asked: _Asked
    seed: int
    index: int

    def least(self, measure: Measure) -> int:
        """Tokens of the problem with its own file alone."""
        return measure.exact(self._prompt([self._own], 0)) + MAX_TOKENS

    def problem(self, tokens: int, measure: Measure) -> Problem:
        """The problem of at most `tokens`."""
        if (least := self.least(measure)) > tokens:
            raise OptionError(f"this question and its file need {least} tokens: {tokens} are too few")
        others = self._allowed()
        packed = pack(
            self._own,
            self._others(others),
            share=random.Random(f"{self.seed}/{self.index}/place").random(),
            prompt=self._prompt,
            budget=tokens - MAX_TOKENS,
            measure=measure,
        )
        return Problem(
            id=f"code-{tokens}-{self.seed}-{self.index}",
            task="code",
            question=self.asked.question,
            answers=(self.asked.answer,),
            metric="contains",
            context="\n\n".join(packed.texts),
            head=HEAD,
            tail=TAIL.format(question=self.asked.question),
            max_tokens=MAX_TOKENS,
            length=packed.size + MAX_TOKENS,
            tokenizer=measure.tokenizer.name,
            facts=(self.asked.fact,),
            notes={"seed": self.seed, "index": self.index, "target": tokens, **self._notes(packed, len(others))},
        )

    @property
    def _own(self) -> str:
        return _shown(self.code.names[self.asked.file], self.code.texts[self.asked.file])

    def _prompt(self, texts: list[str], own: int) -> str:
        return HEAD + "\n\n".join(texts) + TAIL.format(question=self.asked.question)

    def _allowed(self) -> list[int]:
        """The files that leave the question with one answer: they do not speak of the name at all."""
        found = [number for number, text in enumerate(self.code.texts) if self.asked.name not in text]
        if not found:
            raise InputError(f"{self.code.source} holds no file that does not speak of {self.asked.name}")
        return found

    def _others(self, allowed: list[int]) -> Iterator[str]:
        """In random order; then copies in another one, without end."""
        rng = random.Random(f"{self.seed}/{self.index}/others")
        turn = 1
        while True:
            folder = f"copy_{turn}/" if turn > 1 else ""
            for number in rng.sample(allowed, len(allowed)):
                yield _shown(folder + self.code.names[number], self.code.texts[number])
            turn += 1

    def _notes(self, packed: Packed, allowed: int) -> dict[str, object]:
        notes: dict[str, object] = {
            "source": self.code.source,
            "file": self.code.names[self.asked.file],
            "own": packed.own + 1,
            "files": len(packed.texts),
        }
        if packed.shortened is not None:
            notes["shortened"] = f"file {packed.shortened}"
        if len(packed.texts) > allowed + 1:
            notes["extended"] = "files are repeated as copies in other folders, in another order each time"
        return notes


def _shown(name: str, text: str) -> str:
    return f"--- {name} ---\n\n{text.strip()}"


@lru_cache(maxsize=2)
def _code(source: str | None) -> _Code:
    folder = Path(source or sysconfig.get_paths()["stdlib"]).resolve()
    if not folder.is_dir():
        raise DocumentError(f"there is no folder {source}")
    paths = [path for path in walk(folder) if isinstance(path, Path)] if source else sorted(folder.glob("*.py"))
    names, texts, asked = [], [], list[_Asked]()
    for path in paths:
        read = _read(path) if path.suffix == ".py" else None
        if read is not None:
            text, tree = read
            names.append(path.relative_to(folder).as_posix())
            texts.append(text)
            asked += _questions(tree, text, len(names) - 1, names[-1])
    once = Counter(one.name for one in asked)
    kept = tuple(one for one in asked if once[one.name] == 1)
    if not kept:
        raise DocumentError(f"{folder} holds no Python file to ask about")
    return _Code(source or f"standard library of Python {platform.python_version()}", tuple(names), tuple(texts), kept)


def _read(path: Path) -> tuple[str, ast.Module] | None:
    """Text and syntax tree; None for what Python itself cannot read, which is no code to ask about."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on what is odd in the user's code
            return text, ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _questions(tree: ast.Module, text: str, file: int, path: str) -> Iterator[_Asked]:
    """About what the file defines once: its classes, and the defaults of its functions and methods."""
    lines = text.split("\n")  # as the syntax tree counts them: a form feed ends no line
    named = Counter(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | _FUNCTION))
    for node, owner in _defined(tree):
        if len(node.name) < LEAST_NAME or named[node.name] > 1:
            continue
        if isinstance(node, ast.ClassDef):
            question = f"In which file is the class {node.name} defined?"
            yield _Asked(file, node.name, question, path, lines[node.lineno - 1].strip(), of_class=True)
        else:
            what = f"method {node.name} of the class {owner}" if owner else f"function {node.name}"
            yield from islice(_defaults(node, what, lines, file), 1)


def _defined(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Classes, functions and methods; for a method, of which class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | _FUNCTION):
            yield node, ""
        if isinstance(node, ast.ClassDef):
            yield from ((method, node.name) for method in node.body if isinstance(method, _FUNCTION))


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef, what: str, lines: list[str], file: int) -> Iterator[_Asked]:
    """Questions about the parameters whose default can be asked for, the last first."""
    given = node.args
    named = zip(given.kwonlyargs[::-1], given.kw_defaults[::-1], strict=True)
    for parameter, value in chain(named, zip(given.args[::-1], given.defaults[::-1], strict=False)):
        question = f"What is the default value of the parameter {parameter.arg} of the {what}?"
        if isinstance(value, ast.Constant) and _is_telling(value.value, line := lines[value.lineno - 1], question):
            yield _Asked(file, node.name, question, str(value.value), line.strip())


def _is_telling(value: object, line: str, question: str) -> bool:
    """A number or a string that stands in its line as it is, too long for chance, and not in the question already."""
    if not isinstance(value, int | str) or isinstance(value, bool):
        return False
    text = str(value)
    if text != text.strip() or not LEAST_ANSWER <= len(re.findall(r"\w", text)) <= len(text) <= LONGEST_ANSWER:
        return False
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", line) is not None and text.lower() not in question.lower()
