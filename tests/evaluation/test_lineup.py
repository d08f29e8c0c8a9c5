"""Which methods run on which models, and how they are called."""

import itertools

import pytest

from memagent.errors import OptionError
from memagent.evaluation.lineup import check_methods, line_up, scales_as_needed
from memagent.evaluation.recipe import Recipe
from memagent.models import ModelOptions


def names(**changes):
    return [entrant.name for entrant in line_up(Recipe(suite="ruler", **changes), 9000)]


def test_one_model_needs_no_name():
    assert names(methods=("paper", "gated", "full")) == ["paper", "gated", "full"]


def test_several_models_are_named_with_their_adapters():
    models = (ModelOptions(), ModelOptions(adapter="runs/best/"), ModelOptions(model="x"))
    assert names(models=models, methods=("gated",)) == ["local gated", "local+best gated", "x gated"]
    with pytest.raises(OptionError, match="same name"):
        names(models=(ModelOptions(adapter="a/best"), ModelOptions(adapter="b/best")))


def test_positions_are_stretched_as_far_as_they_must():
    entrants = line_up(Recipe(suite="ruler", methods=("full", "full+yarn")), 66000)
    assert [entrant.options.rope for entrant in entrants] == [None, "yarn@66000"]


def test_only_scaling_without_a_factor_needs_the_longest_prompt():
    assert scales_as_needed(["full", "full+linear"])
    assert not scales_as_needed(["gated", "full", "full+yarn:2"])


def test_a_factor_may_be_given():
    (entrant,) = line_up(Recipe(suite="ruler", methods=("full+dynamic:4",)), 65536)
    assert entrant.options.rope == "dynamic:4" and entrant.name == "full+dynamic:4"


def test_entrants_that_share_a_model_stand_together():
    recipe = Recipe(
        suite="ruler", methods=("gated", "full+yarn", "full"), models=(ModelOptions(), ModelOptions(model="local:x"))
    )
    options = [entrant.options for entrant in line_up(recipe, 9000)]
    assert len(options) == 6
    assert sum(first != second for first, second in itertools.pairwise(options)) == 3


def test_an_endpoint_scales_no_positions():
    with pytest.raises(OptionError, match="needs a local model"):
        names(models=(ModelOptions(model="x"),), methods=("full+yarn",))


@pytest.mark.parametrize("name", ["fool", "full+wave", "bm25+yarn", ""])
def test_unknown_methods(name):
    with pytest.raises(OptionError, match="there is no method"):
        check_methods([name])
