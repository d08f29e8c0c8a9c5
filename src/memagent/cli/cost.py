"""`memagent cost`: what reading would take, worked out from a model's sizes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memagent.cli.options import Tokens, TokensList
from memagent.cli.outcome import for_eyes
from memagent.errors import OptionError
from memagent.evaluation.cost.architecture import NAMED, architecture
from memagent.evaluation.cost.comparison import DEVICES, Device, Row, Setting, as_json, compare, crossings, published
from memagent.evaluation.cost.methods import Sizes
from memagent.evaluation.suites import size_label
from memagent.models.prices import parse_price

PICTURE = "memagent-cost.png"
PICTURES = (".png", ".svg", ".pdf")


class Amount(click.FloatRange):
    """A number of a range; neither infinite nor none at all (`nan` is in every range of click's)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See the class."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no amount", param, ctx)
        return number


@click.command("cost", short_help="What reading takes against length, worked out from a model's sizes.")
@click.option(
    "--tokens",
    type=TokensList(),
    default="8k,32k,128k,512k,1m,4m",
    show_default=True,
    metavar="8k,1m,…",
    help="Lengths of the document.",
)
@click.option(
    "--model",
    default="qwen2.5-7b",
    show_default=True,
    metavar="NAME|config.json",
    help=f"A config.json or its folder, a hub id, or one of {', '.join(NAMED)}.",
)
@click.option("--chunk-tokens", type=Tokens(), default=5000, show_default=True)
@click.option("--memory-tokens", type=Tokens(), default=1024, show_default=True)
@click.option("--question-tokens", type=Tokens(), default=1024, show_default=True)
@click.option("--answer-tokens", type=Tokens(), default=1024, show_default=True)
@click.option(
    "--change-rate", type=float, default=0.02, show_default=True, help="Share of chunks that change the memory (gated)."
)
@click.option("--read-ahead", type=int, default=8, show_default=True, help="Chunks tried at once (gated).")
@click.option("--no-reuse", is_flag=True, help="Compute a prompt's beginning again when a chunk is tried again.")
@click.option("--device", type=click.Choice(sorted(DEVICES)), default="h100", show_default=True)
@click.option("--flops", type=Amount(0, min_open=True), metavar="N", help="Another device: its operations a second.")
@click.option(
    "--bandwidth",
    type=Amount(0, min_open=True),
    metavar="N",
    help="Another device: bytes a second from its memory.",
)
@click.option(
    "--device-memory", type=Amount(0, min_open=True), metavar="N", help="Another device: bytes of its memory."
)
@click.option(
    "--utilisation",
    type=Amount(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Share of the operations that prompts reach.",
)
@click.option("--price", metavar="IN,OUT[,CACHED]", help="USD per million tokens.")
@click.option("--usd-per-hour", type=Amount(0), help="What the device costs, where there is no price.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object on stdout.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    help=f"The picture (default: {PICTURE}; with --json none).",
)
def command(tokens: tuple[int, ...], as_object: bool, output: Path | None, **given: Any) -> None:
    """Compare reading with a memory with the whole document at once: tokens, FLOPs, time, memory and money.

    `dense` is one prompt, `paper` writes the memory anew at each chunk, `gated` keeps it with one token where a chunk
    does not matter. Memories and replies are taken as long as they may be.

    \b
    memagent cost
    memagent cost --tokens 8k,128k,1m,4m --model qwen2.5-14b --device a100 --usd-per-hour 2
    memagent cost --model path/to/config.json --chunk-tokens 1k --memory-tokens 64 --price 0.15,0.60 --json
    """
    if output is not None and output.suffix.lower() not in PICTURES:
        raise OptionError(f"-o {output} is no name of a picture: end it in {', '.join(PICTURES)}")
    setting = Setting(
        model=architecture(given["model"]),
        sizes=_sizes(given),
        device=_device(given),
        price=parse_price(given["price"]) if given["price"] else None,
        usd_per_hour=given["usd_per_hour"],
    )
    lengths = sorted(set(tokens))
    rows = compare(setting, lengths)
    if as_object:
        click.echo(json.dumps(as_json(setting, lengths)))
    else:
        _print(for_eyes(stderr=False), setting, lengths, rows)
    if output is not None or not as_object:
        _draw(setting, lengths, output or Path(PICTURE))


def _sizes(given: dict[str, Any]) -> Sizes:
    parts = {name: given[f"{name}_tokens"] for name in ("question", "chunk", "memory", "answer")}
    return Sizes(**parts, change_rate=given["change_rate"], read_ahead=given["read_ahead"], reuse=not given["no_reuse"])


def _device(given: dict[str, Any]) -> Device:
    known = DEVICES[given["device"]]
    own = {"flops": given["flops"], "bandwidth": given["bandwidth"], "memory": given["device_memory"]}
    changed = {name: value for name, value in own.items() if value is not None}
    return Device(
        name="device" if changed else known.name,
        utilisation=given["utilisation"],
        **{"flops": known.flops, "bandwidth": known.bandwidth, "memory": known.memory, **changed},
    )


def _print(console: Console, setting: Setting, lengths: list[int], rows: list[Row]) -> None:
    model, device = setting.model, setting.device
    window = f"{model.window:,}" if model.window else "not known"
    console.print(f"{model.name}: {model.weights / 1e9:.2f}B weights, window {window}", highlight=False)
    console.print(f"{device.name}: {device.utilisation:.0%} of {device.flops:.3g} FLOP/s", highlight=False)
    console.print(_table(rows, money=rows[0].usd is not None))
    if any(not row.fits_window for row in rows):
        console.print("*  beyond the model's window", highlight=False)
    if any(not row.fits_memory for row in rows):
        console.print(f"!  more than the {device.memory / 1e9:.0f} GB of one {device.name}", highlight=False)
    for method, found in crossings(setting).items():
        console.print(_crossing(method, found), soft_wrap=True, highlight=False)
    console.print(
        "By the paper's formulae (question and answer 1,024, chunks 5,000; counted as training: 6·N·s, 12·s²·d):",
        soft_wrap=True,
        highlight=False,
    )
    console.print(_published(setting, lengths))


def _table(rows: list[Row], *, money: bool) -> Table:
    names = ["tokens", "method", "calls", "in", "out", "FLOPs", "time", "memory"]
    table = Table(*names, *(["USD"] if money else []), box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        marks = ("" if row.fits_window else "*") + ("" if row.fits_memory else "!")
        cells = [f"{row.calls:,}", f"{row.prompt_tokens:,}", f"{row.completion_tokens:,}", f"{row.flops:.2e}"]
        cells += [_time(row.seconds), f"{row.memory / 1e9:,.1f} GB"]
        cells += [] if row.usd is None else [f"{row.usd:,.4f}"]
        first = size_label(row.tokens) if row.method == "dense" else ""
        table.add_row(first, Text(row.method + marks), *cells)
    return table


def _published(setting: Setting, lengths: list[int]) -> Table:
    table = Table("tokens", "dense", "reading", "dense / reading", box=None, pad_edge=False)
    for row in published(setting.model, lengths):
        figures = f"{row['dense']:.2e}", f"{row['reading']:.2e}", f"{row['dense'] / row['reading']:.2f}"
        table.add_row(size_label(row["tokens"]), *figures)
    return table


def _crossing(method: str, found: dict[str, int | None]) -> str:
    known = [f"{name} from {length:,} tokens on" for name, length in found.items() if length is not None]
    return f"{method} takes less than dense: {', '.join(known) or 'nowhere'}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _draw(setting: Setting, lengths: list[int], path: Path) -> None:
    from memagent.evaluation.cost.picture import draw

    draw(setting, lengths, path)
    for_eyes().print(f"picture: {path}", soft_wrap=True)
