"""A recipe is written, read again and compared."""

import pytest

from memagent.errors import InputError, OptionError
from memagent.evaluation.recipe import Recipe
from memagent.models import ModelOptions
from memagent.reading import Settings

FULL = Recipe(
    suite="ruler",
    tasks=("vt", "niah_single_1"),
    lengths=(8192, 65536),
    samples=4,
    seed=7,
    sources={"squad": "a b.json"},
    methods=("reading", "full+yarn:4"),
    models=(ModelOptions(), ModelOptions(model="x", base_url="http://localhost/v1", price="1,2")),
    reading=Settings(protocol="gated", temperature=0.7, top_p=0.95, seed=3),
)


@pytest.mark.parametrize("recipe", [FULL, Recipe(suite='a "quoted" path.jsonl')])
def test_a_recipe_read_again_is_the_same(recipe, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.text(), encoding="utf-8")
    assert Recipe.read(path) == recipe


def test_no_secret_is_written():
    secret = ModelOptions(model="x", base_url="https://me:pass@host/v1?token=t")
    text = Recipe(suite="ruler", models=(secret,)).text()
    assert "pass@" not in text and "token=t" not in text and "https://host/v1" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("suite = ", "recipe.toml"),
        ("lenghts = [1]\nsuite = 'ruler'", "lenghts"),
        ("tasks = ['vt']", "suite"),
        ("suite = 'ruler'\n[[models]]\nmodle = 'x'", "modle"),
        ("suite = 'ruler'\n[reading]\ntemprature = 1", "temprature"),
        ("suite = 'ruler'\nlengths = '8k'", "lengths"),
        ("suite = 'ruler'\nsamples = 'many'", "samples"),
        ("suite = 'ruler'\nlengths = ['8k']", "lengths.0"),
        ("suite = 5", "suite"),
        ("suite = 'ruler'\nsplit = 3", "split"),
        ("suite = 'ruler'\n[reading]\ntemperature = 'hot'", "reading.temperature"),
        ("suite = 'ruler'\nmodels = 3", "models"),
    ],
)
def test_a_malformed_recipe_is_one_line(text, says, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        Recipe.read(path)


def test_a_missing_recipe(tmp_path):
    with pytest.raises(InputError, match="none"):
        Recipe.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"samples": 0}, "--limit"),
        ({"at_once": 0}, "--at-once"),
        ({"lengths": (8192,), "documents": (50,)}, "not both"),
        ({"lengths": (0,)}, "--lengths"),
        ({"documents": (-1,)}, "--documents"),
        ({"methods": ("full", "full")}, "twice"),
        ({"lengths": (8192, 8192)}, "twice"),
        ({"documents": (50, 50)}, "twice"),
        ({"methods": ()}, "no method"),
    ],
)
def test_numbers_that_make_no_sense(changes, says):
    with pytest.raises(OptionError, match=says):
        Recipe(suite="ruler", **changes).check()


def test_what_may_differ_when_a_run_goes_on():
    other = ModelOptions(concurrency=3, retries=9, timeout=1.0)
    assert Recipe(suite="ruler").difference(Recipe(suite="ruler", models=(other,), at_once=2)) is None
    assert Recipe(suite="ruler").difference(Recipe(suite="ruler", seed=1)) == "seed"
    assert Recipe(suite="ruler").difference(Recipe(suite="ruler", models=(ModelOptions(model="x"),))) == "models"
    assert Recipe(suite="ruler").difference(Recipe(suite="ruler", reading=Settings(top_p=0.5))) == "reading"
