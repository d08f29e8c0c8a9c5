"""Shards that FSDP left in the format of verl's checkpoints become models that can be read with, and back."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tests.models import tiny
from tests.training.cluster.conftest import RECIPE, WINDOW
from tests.training.conftest import policy

from memagent.errors import InputError, OptionError
from memagent.models.adapters import read_adapter
from memagent.models.local import LocalModel
from memagent.models.sources import locate
from memagent.training.cluster.weights import check_cluster, make_whole, newest, starting_point
from memagent.training.exports import card, write_adapter
from memagent.training.policy import Policy
from memagent.training.recipe import Recipe

# As verl's FSDPCheckpointManager.save_checkpoint writes them, from two processes.
SAVE = """
import json, sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer

base, target, rank, port, lora = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
config = model.config
if lora:
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(3)
    told = {"target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"}
    model = get_peft_model(model, LoraConfig(r=lora, lora_alpha=2 * lora, **told))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
else:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.5)
fully_shard(model, mesh=init_device_mesh("cpu", (2,), mesh_dim_names=("fsdp",)))
target.mkdir(parents=True, exist_ok=True)
torch.save(model.state_dict(), target / f"model_world_size_2_rank_{rank}.pt")
dist.barrier()
if rank == 0:
    config.save_pretrained(target / "huggingface")
    AutoTokenizer.from_pretrained(base).save_pretrained(target / "huggingface")
    (target / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 2}))
    if lora:
        told = {"r": lora, "lora_alpha": 2 * lora, "task_type": "CAUSAL_LM"}
        (target / "lora_train_meta.json").write_text(json.dumps(told))
dist.barrier()
dist.destroy_process_group()
"""


def shards(base, target, lora=0):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    begun = [
        subprocess.Popen([sys.executable, "-c", SAVE, str(base), str(target / "actor"), str(rank), port, str(lora)])
        for rank in range(2)
    ]
    assert [one.wait(120) for one in begun] == [0, 0]
    return target


def recipe_of(base, tmp_path, rank):
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.format(base=base, file="none") + f"\n[tuning]\nrank = {rank}\n")
    return Recipe.read(path)


def test_a_checkpoint_becomes_a_model(base, tmp_path):
    for step in (9, 10, 11):  # the last is still being written
        (tmp_path / "run/verl" / f"global_step_{step}").mkdir(parents=True)
    (tmp_path / "run/verl/latest_checkpointed_iteration.txt").write_text("10")
    checkpoint = shards(base, tmp_path / "run/verl/global_step_10")
    assert newest(tmp_path / "run/verl") == checkpoint
    merged = make_whole(checkpoint, recipe_of(base, tmp_path, 0), tmp_path / "run")
    found = load_file(merged / "model.safetensors")
    for name, array in tiny.weights().items():
        torch.testing.assert_close(found[name].float(), 0.5 * torch.tensor(array), atol=0, rtol=2**-8)
    told = json.loads((merged / "memagent.json").read_text())
    assert told["steps"] == 10 and told["protocol"] == "gated" and told["chunk_tokens"] == 300
    model = LocalModel.open(str(merged), engine="torch")
    assert model.window == WINDOW


def test_a_checkpoint_of_lora_becomes_an_adapter(base, tmp_path):
    checkpoint = shards(base, tmp_path / "run/verl/global_step_4", lora=4)
    made = make_whole(checkpoint, recipe_of(base, tmp_path, 4), tmp_path / "run")
    adapter = read_adapter(made)
    weights = torch.load(checkpoint / "actor/model_world_size_2_rank_0.pt", weights_only=False)
    assert len(adapter.parts) == 2 * tiny.LAYERS == sum("lora_A" in name for name in weights)
    left = {"adapter_config.json", "adapter_model.safetensors", "memagent.json"}
    assert {path.name for path in made.iterdir()} == left
    model = LocalModel.open(str(base), adapter=made, engine="torch")
    assert model.suggests["protocol"] == "gated" and "adapter" in model.identity


def test_what_is_no_checkpoint_is_told(base, tmp_path):
    recipe = recipe_of(base, tmp_path, 0)
    with pytest.raises(InputError, match="no checkpoint of verl"):
        make_whole(newest(tmp_path), recipe, tmp_path)
    shards = tmp_path / "global_step_1/actor"
    shards.mkdir(parents=True)
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("1")
    with pytest.raises(InputError, match="no shards"):
        make_whole(newest(tmp_path), recipe, tmp_path)
    (shards / "fsdp_config.json").write_text('{"FSDP_version": 2, "world_size": 2}')
    (shards / "model_world_size_2_rank_0.pt").touch()
    with pytest.raises(InputError, match=r"lacks model_world_size_2_rank_1\.pt"):
        make_whole(newest(tmp_path), recipe, tmp_path)
    with pytest.raises(OptionError, match="shards for 2 GPUs"):
        check_cluster(tmp_path, 8)
    check_cluster(tmp_path, 2)


def warm(base, tmp_path):
    """An adapter as our warm start leaves it."""
    made, source = policy(rank=4), locate(str(base))
    recipe = recipe_of(base, tmp_path, 4)
    from memagent.training.forecast import architecture_of, plan_of

    write_adapter(made, tmp_path / "warm", card(source, plan_of(recipe, architecture_of(recipe)), {"steps": 1}))
    return made


def test_an_adapter_of_another_rank_is_refused(base, tmp_path):
    warm(base, tmp_path)
    recipe = recipe_of(base, tmp_path, 8)
    recipe = dataclasses.replace(recipe, base=dataclasses.replace(recipe.base, adapter=str(tmp_path / "warm")))
    with pytest.raises(OptionError, match="another rank"):
        starting_point(recipe, tmp_path / "run")


@pytest.mark.parametrize("rank", [0, 4])
def test_our_warm_start_is_where_verl_begins(base, tmp_path, rank):
    learnt = warm(base, tmp_path)
    recipe = recipe_of(base, tmp_path, rank)
    recipe = dataclasses.replace(recipe, base=dataclasses.replace(recipe.base, adapter=str(tmp_path / "warm")))
    path, adapter = starting_point(recipe, tmp_path / "run")
    if rank:  # verl's own way to begin with an adapter
        from peft import PeftModel

        assert path == str(base)
        begun = PeftModel.from_pretrained(tiny.torch_model(tiny.weights()), adapter).merge_and_unload().state_dict()
    else:
        assert path == str(tmp_path / "run/start") and not adapter
        begun = {**load_file(f"{path}/model.safetensors")}
    for name, weight in Policy.merged_weights(learnt):
        if name in begun:
            torch.testing.assert_close(begun[name].float(), weight.float(), atol=2e-3, rtol=2e-3)
    assert starting_point(dataclasses.replace(recipe, base=dataclasses.replace(recipe.base, adapter="")), tmp_path) == (
        str(base),
        "",
    )
