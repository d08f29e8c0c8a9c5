"""`memagent data`: make, filter and check problems. One file per kind, and no logic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import click

from memagent.cli.groups import LazyGroup


class Kinds(LazyGroup):
    """The commands of this folder."""

    package = "memagent.cli.data"
    names = ("ruler", "hotpotqa", "musique", "2wiki", "squad", "nq", "qmsum", "code", "dialogue", "filter", "validate")
    files: ClassVar[Mapping[str, str]] = {"2wiki": "wiki2"}


@click.group("data", cls=Kinds, short_help="Make problems with known answers; filter and check them.")
def command() -> None:
    """Problems with known answers, in the formats the field uses.

    \b
    memagent data ruler niah_single_1 --tokens 8k --samples 16 --tokenizer smollm2-135m -o niah.jsonl
    memagent data hotpotqa --source hotpot_dev_distractor_v1.json --documents 50,200 -o hqa/
    memagent data validate my-problems.jsonl
    """
