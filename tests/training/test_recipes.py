"""The published runs' recipes say what the scripts say, and the documentation knows every field of a recipe."""

import dataclasses
import json
import re
import typing
from pathlib import Path

import pytest

from memagent.models.adapters import read_adapter
from memagent.models.sources import locate
from memagent.training.objective import PUBLISHED
from memagent.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.+?) \|", re.MULTILINE)


@pytest.mark.parametrize(("size", "problems", "mini_batch"), [("7b", 128, 8), ("14b", 256, 16)])
def test_the_published_runs(size, problems, mini_batch):
    """By run_memory_7B.sh, run_memory_14B.sh, and the configuration that both start from."""
    recipe = Recipe.read(ROOT / "recipes" / f"paper-{size}.toml")
    recipe.check()
    assert recipe.base.name == f"Qwen/Qwen2.5-{size.upper()}-Instruct" and recipe.tuning.rank == 0
    rollouts, learner, reading = recipe.rollouts, recipe.learner, recipe.reading
    assert (rollouts.problems, rollouts.group, rollouts.problems // rollouts.updates) == (problems, 16, mini_batch)
    assert (rollouts.temperature, rollouts.top_p, rollouts.refills) == (1.0, 1.0, 0)
    assert (learner.lr, learner.weight_decay, learner.clip_norm) == (1e-6, 0.01, 1.0)
    assert learner.warmup == 20 * rollouts.updates
    assert recipe.objective == PUBLISHED and PUBLISHED.kl == 1e-3
    assert not recipe.advantages.divide_by_std and recipe.advantages.normalisation == "rank"
    assert (reading.protocol, reading.chunk_tokens, reading.memory_tokens) == ("paper", 5000, 1024)
    assert (reading.answer_tokens, reading.answer_form, recipe.reward.metric) == (1024, "boxed", "reward_boxed")
    assert recipe.data[0].file.endswith("hotpotqa_train_32k.parquet")


def test_the_two_published_runs_differ_in_size_alone():
    small, large = (Recipe.read(ROOT / "recipes" / f"paper-{size}.toml") for size in ("7b", "14b"))
    alike = dataclasses.replace(large, base=small.base, rollouts=dataclasses.replace(large.rollouts, problems=128))
    assert alike == small


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_can_be_read(path):
    Recipe.read(path).check()


def test_the_documentation_names_every_field_with_its_default():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8").partition("## The recipe")[2]
    told = {name: _default(cell) for name, cell in ROW.findall(text.partition("## While it runs")[0])}
    assert told == dict(_fields(Recipe))


def _default(cell):
    if cell == "required":
        return dataclasses.MISSING
    return None if cell == "–" else json.loads(cell.strip("`"))


def _fields(kind, table=""):
    """Each field with its default, but for the version; of data only the training's."""
    hints = typing.get_type_hints(kind)
    for one in dataclasses.fields(kind):
        inner = hints[one.name]
        if table == "" and typing.get_args(inner)[1:] == (...,):
            inner = typing.get_args(inner)[0]
        if dataclasses.is_dataclass(inner):
            yield from _fields(inner, f"{table}{one.name}.")
        elif one.name != "version":
            yield f"{table}{one.name}", list(one.default) if isinstance(one.default, tuple) else one.default


def test_the_laptops_recipe_goes_on_from_the_adapter_that_lies_beside_it():
    """Its own recipe made it, for the embedded model, and with the matrices that are trained further."""
    recipe, warm = (Recipe.read(ROOT / "recipes" / f"{name}.toml") for name in ("cpu", "cpu-warm"))
    assert (recipe.tuning, recipe.reading, recipe.data) == (warm.tuning, warm.reading, warm.data)
    start = read_adapter(ROOT / recipe.base.adapter)
    card = json.loads((start.folder / "memagent.json").read_text("utf-8"))
    assert card["base_sha256"] == locate(recipe.base.name).base_sha256
    assert {part.down.shape[0] for part in start.parts.values()} == {recipe.tuning.rank}
    assert len(start.parts) == 30 * len(recipe.tuning.targets)
    assert recipe.validation.problems >= 128
