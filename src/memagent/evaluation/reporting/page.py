"""The report as one page that needs no network: scores, pictures, and every problem's memory step by step.

Whatever documents, memories and answers hold is data in the page: it is shown as text and never runs. The page's
content security policy lets no script run but ours, by its hash. What belongs to a problem is packed, as the memories
of a reading repeat each other, and unpacked when it is opened.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from memagent.atomic import write_whole
from memagent.evaluation.outcome import Outcome
from memagent.evaluation.reporting.sections import Grid, Picture, Section
from memagent.extras import extra

LARGEST = 60_000_000  # characters of packed readings in the page; what goes beyond is left to `memagent readings`
LETTERS = {"keep": "k", "add": "a", "write": "w", "done": "d", "malformed": "m", "empty": "e", "failed": "f"}

Turns = Callable[[str], list[dict[str, Any]]]


def write_page(
    folder: Path,
    title: str,
    about: Iterable[str],
    sections: Sequence[Section],
    *,
    outcomes: Sequence[Outcome],
    recipe: str,
    turns: Turns,
) -> None:
    """Write report.html with the pictures of `folder` in it."""
    with extra("eval", "writing the report's page"):
        from jinja2 import Environment
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_file("report.html.j2"))
    outcomes = _in_order(outcomes)
    details, left_out = _details(outcomes, turns)
    script = _file("report.js")
    text = template.render(
        title=title,
        about=list(about),
        sections=[(section.title, [_part(part, folder) for part in section.parts]) for section in sections],
        recipe=recipe,
        rows=_safe([_row(outcome) for outcome in outcomes]),
        details=details,
        left_out=left_out,
        style=_file("report.css"),
        script=script,
        hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_whole(folder / "report.html", text)


def _file(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _part(part: str | Grid | Picture, folder: Path) -> tuple[str, Any]:
    """What kind of part it is, and what the template needs of it."""
    if isinstance(part, str):
        return "text", part
    if isinstance(part, Grid):
        return "grid", part
    image = base64.b64encode((folder / f"{part.name}.png").read_bytes()).decode()
    return "picture", {"shows": part.shows, "data": f"data:image/png;base64,{image}"}


def _in_order(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """By method as they ran, length, task and number: problems that run together end in any order."""
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    return sorted(outcomes, key=lambda one: (methods.index(one.method), one.length, one.task, one.index))


def _row(outcome: Outcome) -> list[Any]:
    return [outcome.method, outcome.task, outcome.label, outcome.index, outcome.status, round(outcome.score, 4)]


def _details(outcomes: Sequence[Outcome], turns: Turns) -> tuple[list[str], int]:
    """What belongs to each problem, packed; and how many came without their memory for size."""
    found, size, left_out = [], 0, 0
    for outcome in outcomes:
        made = turns(outcome.reading_id) if outcome.reading_id and size < LARGEST else []
        text = _packed(_detail(outcome, made))
        if size + len(text) > LARGEST:
            text, left_out = _packed(_detail(outcome, [])), left_out + 1
        size += len(text)
        found.append(text)
    return found, left_out


def _detail(outcome: Outcome, turns: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "question": outcome.question,
        "references": outcome.references,
        "reply": outcome.reply,
        "answer": outcome.answer,
        "scores": outcome.scores,
        "error": outcome.error,
        "reading": outcome.reading_id,
        "facts": _facts(outcome),
        # One letter a turn: thousands of keeps cost thousands of characters.
        "turns": "".join(LETTERS.get(turn["outcome"], "?") for turn in turns),
        "places": [turn["end"] for turn in turns],
        "memories": dict(_memories(turns)),
        "errors": {str(at): turn["error"] for at, turn in enumerate(turns) if turn["error"]},
        "evidence": {
            str(at): [one["quote"] for one in turn["evidence"]] for at, turn in enumerate(turns) if turn["evidence"]
        },
    }


def _facts(outcome: Outcome) -> str:
    return (
        f"{outcome.model_calls:,} calls, {outcome.prompt_tokens:,} tokens in, {outcome.completion_tokens:,} out, "
        f"{outcome.seconds:.1f} s"
    )


def _memories(turns: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The memory after each turn that changed it."""
    return ((str(at), turn["memory"]) for at, turn in enumerate(turns) if turn["memory"] is not None)


def _packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def _safe(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it can close the element."""
    return json.dumps(value).replace("<", "\\u003c")
