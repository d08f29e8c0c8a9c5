"""Finished readings as text for people."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from memagent.cli.memory_view import printable
from memagent.reading.result import Coverage, Evidence, Reading

STATUS = {
    "answered": ("answered", "green"),
    "not_found": ("nothing found", "yellow"),
    "partial": ("answered, but part of the document could not be read", "yellow"),
    "unread": ("the model refused every part of the document; --resume asks again", "red"),
}


def for_eyes(*, stderr: bool = True) -> Console:
    """Where people look; nothing of a document is taken for rich's own markup there."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_reading(console: Console, reading: Reading) -> None:
    """The answer, the evidence for it, and what was read for it."""
    label, style = STATUS[reading.status]
    soft = not (console.is_terminal or console.record)  # what is piped keeps its lines whole
    console.print()
    console.print(Text(printable(reading.problem), style="bold"))
    console.print(Text(printable(reading.answer) or "(no answer)"), soft_wrap=soft)
    console.print()
    for number, evidence in enumerate(reading.evidence, start=1):
        console.print(quoted(number, evidence), soft_wrap=soft)
    if not reading.evidence:
        console.print(Text("no evidence: no passage of the document clearly supports this answer", style="dim"))
    console.print(Text.assemble((label, style), ("  " + account(reading), "dim")), soft_wrap=soft)
    for note in [*rules(reading), *reading.notes]:
        console.print(Text(f"note: {note}", style="dim"), soft_wrap=soft)


def quoted(number: int, evidence: Evidence) -> Text:
    """A quote with its place."""
    page = f", page {evidence.page}" if evidence.page else ""
    place = f"  {evidence.source}{page}, characters {evidence.start}–{evidence.end}"
    return Text.assemble((f"[{number}] ", "bold"), f"“{printable(' '.join(evidence.quote.split()))}”", (place, "dim"))


def account(reading: Reading) -> str:
    """Coverage and usage in a line."""
    usage = reading.usage
    cost = f", ${usage.cost_usd:.4f}" if usage.cost_usd else ""
    return (
        f"{covered(reading.coverage)}; {usage.model_calls:,} calls, {usage.prompt_tokens:,} tokens in, "
        f"{usage.completion_tokens:,} out, {usage.seconds:.1f} s{cost}; reading {reading.reading_id}"
    )


def covered(coverage: Coverage) -> str:
    """Coverage in words."""
    missed = [f"{count} {name}" for name in ("skipped", "failed") if (count := getattr(coverage, name))]
    chunks = f"{coverage.read:,} of {coverage.chunks:,} chunks ({coverage.document_tokens:,} tokens) read"
    return ", ".join([chunks, *missed])


def rules(reading: Reading) -> list[str]:
    """Which rules for odd replies were applied, where any was."""
    tally = reading.tally
    said = {
        "empty": "{} replies were empty: the memory stayed as it was",
        "malformed": "{} replies did not follow the protocol: only what the document says in the same words was taken",
        "trimmed": "{} memories reached their limit and were cut there: what did not fit is lost",
        "recut": "{} chunks had to be split",
        "neutralised": "{} tags in the document were neutralised",
        "vain": "{} calls were made in vain, ahead of a change or before an interruption",
    }
    return [line.format(count) for name, line in said.items() if (count := getattr(tally, name))]
