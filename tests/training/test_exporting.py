"""Further forms are made from what a run leaves by itself, and hold the same weights."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tests.models import tiny
from tests.training.conftest import policy

from memagent.errors import OptionError
from memagent.models.adapters import CARD_NAME
from memagent.models.gguf_files import GGUF
from memagent.models.sources import locate
from memagent.training.exporting import check_exports, export
from memagent.training.exports import write_adapter, write_merged
from memagent.training.policy import Tuning
from memagent.training.recipe import Base, Recipe, Source


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMAGENT_CACHE", str(tmp_path / "cache"))
    folder = tiny.write_folder(tmp_path / "base", tiny.weights())
    tiny.write_gguf(folder / "model.gguf", tiny.weights())
    return locate(str(folder))


@pytest.mark.parametrize("rank", [4, 0])
def test_merged_and_gguf_hold_what_was_learnt(tmp_path, base, rank):
    learnt, card = policy(rank), {"base": base.name, "protocol": "gated"}
    with torch.no_grad():
        for parameter in learnt.trained.values():
            parameter.add_(0.05)
    if rank:
        write_adapter(learnt, tmp_path / "run" / "adapter", card)
    else:
        write_merged(learnt, base, tmp_path / "run" / "merged", card, dtype="fp32")
    tuning = Tuning(rank=rank, alpha=8.0, precision="fp32")
    recipe = Recipe(base=Base(name=str(base.folder)), tuning=tuning, data=(Source(task="vt"),))
    places = export(recipe, tmp_path / "run", ("merged", "gguf"))
    assert [place.name for place in places] == ["merged", "gguf"]
    GGUF(places[1] / "model.gguf").write_safetensors(tmp_path / "again.safetensors")
    expected, before = dict(learnt.merged_weights()), tiny.weights()["model.layers.0.mlp.up_proj.weight"]
    for path in (places[0] / "model.safetensors", tmp_path / "again.safetensors"):
        held = load_file(path)
        assert all(torch.allclose(held[name].float(), expected[name], atol=2e-3) for name in held)
        assert not torch.allclose(
            held["model.layers.0.mlp.up_proj.weight"].float(), torch.from_numpy(before), atol=0.02
        )
    assert all(json.loads((place / CARD_NAME).read_text()) == card for place in places)


def test_nothing_is_made_anew_where_nothing_more_is_asked_for(tmp_path):
    recipe = Recipe(data=(Source(task="vt"),), base=Base(name="no-such-base"))
    assert export(recipe, tmp_path, ()) == [] and export(recipe, tmp_path, ("adapter",)) == [tmp_path / "adapter"]


def test_there_is_no_adapter_of_all_weights():
    recipe = Recipe(data=(Source(task="vt"),), tuning=Tuning(rank=0))
    check_exports(recipe, ("merged", "gguf"))
    with pytest.raises(OptionError, match="there is no adapter"):
        check_exports(recipe, ("adapter",))
