"""Telling a model's thinking from its answer. It does not know where the text comes from."""

from __future__ import annotations

OPENING, CLOSING = "<think>", "</think>"


def split_thinking(text: str, finished: bool) -> tuple[str, str]:
    """The answer and the thinking of `text`, in that order, both without the tags.

    What stands before the last `</think>` is thinking. A `<think>` at the start that is never closed
    makes everything thinking. Unless the text is `finished`, an opening tag that has only begun to
    arrive counts as opened too.
    """
    before, closing, after = text.rpartition(CLOSING)
    if closing:
        return after.lstrip("\n"), before.strip().removeprefix(OPENING).strip()
    start = text.lstrip()
    if start.startswith(OPENING):
        return "", start.removeprefix(OPENING).strip()
    if not finished and start and OPENING.startswith(start):
        return "", ""
    return text, ""
