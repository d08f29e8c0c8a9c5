"""What training writes is read by PEFT, by both engines and by transformers, and answers as the policy does."""

import asyncio
import errno
import json
import os

import numpy
import pytest
import torch
from safetensors import safe_open
from tests.models import tiny
from tests.models.test_adapters import peft_asks_transformers
from tests.training.conftest import policy

from memagent.errors import OptionError, SetupError, StoppedError
from memagent.models.adapters import base_hash, merged_gguf, read_adapter
from memagent.models.base import Prompt, Request
from memagent.models.gguf_files import GGUF
from memagent.models.local import LocalModel
from memagent.models.sources import locate
from memagent.reading import Settings
from memagent.training.exports import card, check_adapter, write_adapter, write_gguf, write_merged

TEXT = "the wind blew from the west"
LENGTH = 8  # of what is compared, in tokens


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMAGENT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrices are multiplied faster so, the more where other programs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def base(tmp_path):
    """The tiny Llama as safetensors and as GGUF in one folder, as the embedded model lies."""
    folder = tiny.write_folder(tmp_path / "tiny-base", tiny.weights())
    tiny.write_gguf(folder / "model.gguf", tiny.weights())
    (folder / "LICENSE").write_text("do as you like")
    (folder / "manifest.json").write_text(json.dumps({"about": "the base"}))
    return locate(str(folder))


@pytest.fixture
def told(base):
    return card(base, plan(), {"steps": 12, "recipe": "cpu.toml"})


def plan():
    class Model:
        window, suggests = 512, {}

    return Settings(protocol="gated", chunk_tokens=100, memory_tokens=30, read_ahead=4).resolve(Model())


def learnt(rank):
    """A policy that is not its base: the tiny Llama with other weights."""
    made = policy(rank)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in made.trained.values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return made


def answer(model):
    """Ids that a local model writes greedily, and the ids of its prompt."""

    async def ask():
        try:
            return await model.generate(Request(prompt=Prompt(segments=(TEXT,)), max_tokens=LENGTH, logprobs=True))
        finally:
            await model.aclose()

    found = asyncio.run(ask())
    return list(found.prompt_ids), list(found.token_ids)


def says_the_same(made, model):
    prompt, written = answer(model)
    return written == tiny.greedy(made.model, prompt, LENGTH)[0]


def test_peft_loads_the_adapter_with_the_policys_logits(tmp_path, told):
    from peft import PeftModel

    made = learnt(4)
    write_adapter(made, tmp_path / "adapter", told)
    with peft_asks_transformers():
        loaded = PeftModel.from_pretrained(tiny.torch_model(tiny.weights()), str(tmp_path / "adapter")).eval()
    ids = torch.arange(5, 80)[None]
    with torch.no_grad():
        theirs, ours = loaded(ids).logits, made.model.eval()(ids).logits
        plain = tiny.torch_model(tiny.weights())(ids).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    assert float((plain - ours).abs().max()) > 0.1


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_adapter_reads_as_the_policy_and_suggests_how(tmp_path, base, told, engine):
    made = learnt(4)
    write_adapter(made, tmp_path / "adapter", told)
    opened = LocalModel.open(str(base.folder), adapter=tmp_path / "adapter", engine=engine, precision="fp32")
    assert opened.suggests == {"protocol": "gated", "chunk_tokens": 100, "memory_tokens": 30, "read_ahead": 4}
    assert opened.notes == () and says_the_same(made, opened)
    assert not says_the_same(made, LocalModel.open(str(base.folder), engine=engine, precision="fp32"))


def test_the_adapter_is_bound_to_its_base(tmp_path, base, told):
    write_adapter(learnt(4), tmp_path / "adapter", told)
    adapter = read_adapter(tmp_path / "adapter")
    shapes = {name: array.shape for name, array in tiny.weights().items()}
    adapter.check(base.name, base.base_sha256, shapes)
    other = tiny.write_folder(tmp_path / "other", tiny.weights(seed=1))
    with pytest.raises(SetupError, match=r"was trained on tiny-base .*, not on other"):
        adapter.check("other", base_hash(other), shapes)
    assert (adapter.card["steps"], adapter.card["recipe"]) == (12, "cpu.toml")


def test_the_adapter_is_the_same_file_each_time_and_smaller_as_bf16(tmp_path, told):
    made, hashes, sizes = learnt(4), [], []
    for number, dtype in enumerate(["fp32", "fp32", "bf16"]):
        write_adapter(made, tmp_path / str(number), told, dtype=dtype)
        hashes.append(read_adapter(tmp_path / str(number)).sha256)
        sizes.append((tmp_path / str(number) / "adapter_model.safetensors").stat().st_size)
    assert hashes[0] == hashes[1] != hashes[2] and sizes[2] < 0.6 * sizes[0]
    exact, rounded = (read_adapter(tmp_path / name).parts for name in "02")
    for name, part in exact.items():
        assert numpy.allclose(part.delta(), rounded[name].delta(), atol=0.02, rtol=0.05)


def test_an_adapter_that_is_larger_than_asked_is_refused_before_it_is_written(tmp_path, told):
    made = learnt(4)
    write_adapter(made, tmp_path / "adapter", told)
    size = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    with pytest.raises(OptionError, match=r"more than .* MiB, and PEFT reads it from one file"):
        write_adapter(made, tmp_path / "small", told, most_bytes=size - 1)
    assert not (tmp_path / "small").exists()
    check_adapter(made, dtype="bf16", most_bytes=size)


def test_without_lora_there_is_no_adapter(tmp_path, told):
    with pytest.raises(OptionError, match="there is no adapter"):
        write_adapter(learnt(0), tmp_path / "adapter", told)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_merged_folder_is_a_model_that_writes_as_the_policy(tmp_path, base, told, rank):
    made = learnt(rank)
    write_merged(made, base, tmp_path / "merged", told, dtype="fp32")
    assert says_the_same(made, LocalModel.open(str(tmp_path / "merged"), precision="fp32"))
    names = {path.name for path in (tmp_path / "merged").iterdir()}
    assert names == {"config.json", "LICENSE", "memagent.json", "model.safetensors", "tokenizer.json",
                     "tokenizer_config.json"}  # fmt: skip
    assert base_hash(tmp_path / "merged") != base.base_sha256


@pytest.mark.parametrize("rank", [0, 4])
def test_shards_are_bounded_and_indexed(tmp_path, base, told, rank):
    made, limit = learnt(rank), 60_000
    write_merged(made, base, tmp_path / "merged", told, dtype="fp32", shard_bytes=limit)
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3
    total = 0
    for path in (tmp_path / "merged").glob("*.safetensors"):
        with safe_open(str(path), "pt") as opened:
            names = set(opened.keys())
            size = sum(opened.get_tensor(name).numel() * 4 for name in names)
        assert names == {name for name, at in index["weight_map"].items() if at == path.name}
        assert size <= limit or len(names) == 1
        total += size
    assert index["metadata"]["total_size"] == total
    assert says_the_same(made, LocalModel.open(str(tmp_path / "merged"), precision="fp32"))


@pytest.mark.parametrize(
    ("named", "asked", "kind"),
    [
        ({"dtype": "bfloat16"}, None, "BF16"),
        ({"torch_dtype": "float16"}, None, "F16"),
        ({}, None, "F32"),
        ({"dtype": "float32"}, "bf16", "BF16"),
    ],
)
def test_merged_weights_have_the_bases_type_unless_told(tmp_path, base, told, named, asked, kind):
    (base.folder / "config.json").write_text(json.dumps({**tiny.CONFIG, **named}))
    write_merged(learnt(4), base, tmp_path / "merged", told, dtype=asked)
    with safe_open(str(tmp_path / "merged" / "model.safetensors"), "pt") as opened:
        kinds = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    named_now = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[kind]
    assert kinds == {kind} and config["dtype"] == named_now and "torch_dtype" not in config


@pytest.mark.parametrize("rank", [0, 4])
def test_the_gguf_folder_is_a_model_that_writes_as_the_policy(tmp_path, base, told, rank):
    made = learnt(rank)
    write_gguf(made, base, tmp_path / "gguf", told)
    assert says_the_same(made, LocalModel.open(str(tmp_path / "gguf"), engine="openvino", precision="fp32"))
    assert json.loads((tmp_path / "gguf" / "memagent.json").read_text()) == told


def test_gguf_and_adapter_are_the_same_weights(tmp_path, base, told):
    made = learnt(4)
    write_adapter(made, tmp_path / "adapter", told)
    write_gguf(made, base, tmp_path / "gguf", told)
    merged = merged_gguf(base.gguf, base.base_sha256, read_adapter(tmp_path / "adapter"), name="tiny")
    assert GGUF(tmp_path / "gguf" / "model.gguf").weights_hash() == GGUF(merged).weights_hash()


def test_full_weights_in_gguf_are_those_of_the_policy(tmp_path, base, told):
    made = learnt(0)
    write_gguf(made, base, tmp_path / "gguf", told)
    GGUF(tmp_path / "gguf" / "model.gguf").write_safetensors(tmp_path / "back.safetensors")
    with safe_open(str(tmp_path / "back.safetensors"), "pt") as opened:
        back = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
    own = dict(made.model.named_parameters())
    assert back.keys() == own.keys()
    for name, tensor in back.items():
        torch.testing.assert_close(tensor, own[name].detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_gguf_of_another_model_is_refused(tmp_path, base, told, rank):
    fewer = {name: array for name, array in tiny.weights().items() if "layers.1.mlp" not in name}
    tiny.write_gguf(base.gguf, fewer)
    with pytest.raises(SetupError, match=r"do not hold the same weights: model\.layers\.1\.mlp"):
        write_gguf(learnt(rank), base, tmp_path / "gguf", told)
    assert not (tmp_path / "gguf").exists()


def test_a_base_without_gguf_says_what_to_do(tmp_path, told):
    source = locate(str(tiny.write_folder(tmp_path / "plain", tiny.weights())))
    with pytest.raises(SetupError, match="convert_hf_to_gguf"):
        write_gguf(learnt(4), source, tmp_path / "gguf", told)


def write(kind, made, base, target, told):
    if kind == "adapter":
        write_adapter(made, target, told)
    elif kind == "merged":
        write_merged(made, base, target, told)
    else:
        write_gguf(made, base, target, told)


@pytest.mark.parametrize("kind", ["adapter", "merged", "gguf"])
def test_a_full_disk_keeps_the_export_before(tmp_path, monkeypatch, base, told, kind):
    made, folder = learnt(4), tmp_path / "run"
    write(kind, made, base, folder / kind, {**told, "steps": 1})

    def full(opened):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoppedError, match=f"{kind}: No space left on device; free some space") as caught:
            write(kind, made, base, folder / kind, {**told, "steps": 2})
    assert "\n" not in str(caught.value) and list(folder.iterdir()) == [folder / kind]
    assert json.loads((folder / kind / "memagent.json").read_text())["steps"] == 1
    write(kind, made, base, folder / kind, {**told, "steps": 3})
    assert json.loads((folder / kind / "memagent.json").read_text())["steps"] == 3


def test_bad_asks_are_one_line(tmp_path, base, told):
    with pytest.raises(OptionError, match="fp32, bf16, fp16, not as 'int8'"):
        write_adapter(learnt(4), tmp_path / "adapter", told, dtype="int8")
    with pytest.raises(OptionError, match="cannot be called protocol"):
        card(base, plan(), {"protocol": "paper"})
