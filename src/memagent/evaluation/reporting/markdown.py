"""A report as Markdown. What the cells hold is shown as it is: nothing in it becomes markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memagent.evaluation.reporting.sections import Grid, Picture, Section

_OPENING = """## Readings

`report.html` shows every problem's memory step by step, and so does
`memagent readings --journal readings show ID` in this folder; `results.jsonl` has the ids."""


def markdown(title: str, about: Iterable[str], sections: Iterable[Section]) -> str:
    """The whole report."""
    lines = "\n".join(f"- {plain(line)}" for line in about)
    parts = [f"# {plain(title)}", lines]
    for section in sections:
        parts += [f"## {plain(section.title)}", *map(_part, section.parts)]
    return "\n\n".join([*parts, _OPENING]) + "\n"


def _part(part: str | Grid | Picture) -> str:
    if isinstance(part, Picture):
        return f"![{part.shows}]({part.name}.png)"
    if isinstance(part, str):
        return plain(part)
    caption = f"### {plain(part.caption)}\n\n" if part.caption else ""
    return caption + "\n".join(map(_row, [part.head, ["---"] * len(part.head), *part.rows]))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = " ".join(text.split()).replace("<", "&lt;").replace("](", "]\\(")
    return "".join(f"\\{letter}" if letter in "|*`" else letter for letter in flat)
