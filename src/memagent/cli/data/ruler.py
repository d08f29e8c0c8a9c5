"""`memagent data ruler`: problems of RULER's 13 tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from memagent.cli.data.building import format_option, say, shared_options, split_option, write
from memagent.cli.options import Tokens
from memagent.errors import OptionError
from memagent.models.tokenizers import load_tokenizer
from memagent.tasks import qa, records, ruler
from memagent.tasks.choosing import Chosen
from memagent.tasks.problem import Problem


@click.command("ruler", short_help="RULER's 13 tasks, at any length.")
@click.argument("task")
@click.option("--tokens", type=Tokens(), required=True, metavar="N", help="Prompt and tokens to generate, at most.")
@click.option(
    "--haystack", default="report", show_default=True, metavar="report|train|FILE", help="The text of the essay tasks."
)
@click.option("--depths", metavar="0,50,…", help="Where the needles stand, in percent; one for each.")
@click.option("--source", default="", metavar="FILE", help="SQuAD for qa_1, HotpotQA for qa_2; or hub:OWNER/NAME.")
@click.option("--paragraphs", metavar="FILE", help="More paragraphs for qa_1 and qa_2.")
@split_option
@format_option("nvidia")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE")
@shared_options
def command(task: str, tokens: int, output: Path, **given: Any) -> None:
    """Make problems of TASK: niah_single_1 to 3, niah_multikey_1 to 3, niah_multivalue, niah_multiquery, vt, cwe,
    fwe, qa_1 or qa_2.

    \b
    memagent data ruler niah_single_1 --tokens 8k --samples 16 --tokenizer smollm2-135m -o niah.jsonl
    memagent data ruler vt --tokens 1m --seed 7 --format memagent -o vt.jsonl
    memagent data ruler qa_2 --tokens 64k --source hotpot_dev_distractor_v1.json -o qa_2.jsonl
    """
    if task not in ruler.TASKS:
        raise OptionError(f"there is no RULER task {task}: the tasks are {', '.join(ruler.TASKS)}")
    check_used(task, given)
    records.check_new(output)
    tokenizer = load_tokenizer(given["tokenizer"])
    corpus, chosen = None, Chosen(task, tuple(range(given["samples"])), 0, given["samples"], "")
    if task in ruler.QUESTIONS:
        data = {name: given[name] for name in ("paragraphs", "split")}
        corpus = qa.load(ruler.QUESTIONS[task], given["source"], **data)
        how = {"tokenizer": tokenizer, "seed": given["seed"], "titled": task == "qa_2"}
        chosen = qa.fitting(corpus, given["samples"], tokens=tokens, **how)
    say(chosen)
    depths = _numbers(given["depths"])

    def build(index: int) -> Problem:
        return ruler.sample(
            task,
            tokens,
            tokenizer=tokenizer,
            seed=given["seed"],
            index=index,
            haystack=given["haystack"],
            depths=depths,
            corpus=corpus,
        )

    write(output, build, chosen, given["format_name"])


def check_used(task: str, given: dict[str, Any]) -> None:
    """Raise OptionError for an option that `task` has no use for: it must not be lost in silence."""
    used = {
        "--source": task in ruler.QUESTIONS or not given["source"],
        "--paragraphs": task in ruler.QUESTIONS or given["paragraphs"] is None,
        "--haystack": task in ruler.ESSAYS or given["haystack"] == "report",
    }
    for name, is_used in used.items():
        if not is_used:
            raise OptionError(f"{task} has no use for {name}: leave it out")


def _numbers(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--depths {text} is no list of percentages: write 0,50,100") from None
