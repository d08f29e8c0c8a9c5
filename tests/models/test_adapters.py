import contextlib
import json
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file
from tests.models import tiny

from memagent.errors import SetupError
from memagent.models.adapters import base_hash, merged_gguf, read_adapter
from memagent.models.gguf_files import GGUF
from memagent.models.local import suggested

RANK = 4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@contextlib.contextmanager
def peft_asks_transformers() -> Iterator[None]:
    """PEFT reads an attribute that newer transformers deprecate; that is between the two of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def write_adapter(folder: Path, card: dict[str, object] | None = None, **config: object) -> Path:
    """A random LoRA over all matrices, made by PEFT itself."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    settings = {"r": RANK, "lora_alpha": 16, "target_modules": TARGETS, "init_lora_weights": False, **config}
    with peft_asks_transformers():
        tuned = get_peft_model(tiny.torch_model(tiny.weights()), LoraConfig(**settings))
        tuned.save_pretrained(str(folder))
    if card is not None:
        (folder / "memagent.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def adapter_folder(tmp_path_factory) -> Path:
    return write_adapter(tmp_path_factory.mktemp("adapter") / "tuned")


@pytest.fixture
def copied(adapter_folder, tmp_path) -> Path:
    """An adapter that a test may spoil."""
    return Path(shutil.copytree(adapter_folder, tmp_path / "tuned"))


def merged_by_peft(folder: Path):
    from peft import PeftModel

    with peft_asks_transformers():
        tuned = PeftModel.from_pretrained(tiny.torch_model(tiny.weights()), str(folder))
        return tuned.merge_and_unload().eval()


@pytest.mark.parametrize(
    "config",
    [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.0.mlp.up_proj": 3}}],
    ids=["plain", "rslora", "patterns"],
)
def test_merging_through_gguf_equals_merging_by_peft(cache, tmp_path, tiny_gguf, config):
    folder = write_adapter(tmp_path / "tuned", **config)
    merged = merged_gguf(tiny_gguf, base_hash(tiny_gguf), read_adapter(folder), name="tiny")
    GGUF(merged).write_safetensors(tmp_path / "merged.safetensors")
    from safetensors.numpy import load_file

    written = load_file(str(tmp_path / "merged.safetensors"))
    expected = {name: weight.numpy() for name, weight in merged_by_peft(folder).state_dict().items()}
    for name, array in written.items():
        assert numpy.allclose(array.astype(numpy.float32), expected[name], atol=2e-3, rtol=2e-3), name
    changed = [name for name in written if not numpy.array_equal(written[name], tiny.weights()[name])]
    assert len(changed) == len(TARGETS) * tiny.LAYERS


def test_the_merged_file_answers_as_pefts_model(cache, tiny_gguf, adapter_folder):
    from memagent.models.base import Sampling
    from memagent.models.engines.base import Job
    from memagent.models.engines.openvino import OpenVinoBackend

    merged = merged_gguf(tiny_gguf, base_hash(tiny_gguf), read_adapter(adapter_folder), name="tiny")
    backend = OpenVinoBackend(merged, end_ids=(2,), precision="fp32", cache_gib=1)
    prompt = list(range(5, 60))
    backend.add(1, Job(prompt=tuple(prompt), max_tokens=5, sampling=Sampling(), logprobs=True))
    outputs = {}
    while backend.busy():
        outputs.update(backend.step())
    ids, logprobs = tiny.greedy(merged_by_peft(adapter_folder), prompt, 5)
    assert list(outputs[1].token_ids) == ids
    assert outputs[1].logprobs == pytest.approx(logprobs, abs=0.02)  # F16 rounds the merged weights


def test_merging_is_done_once(cache, tiny_gguf, adapter_folder, monkeypatch):
    adapter = read_adapter(adapter_folder)
    first = merged_gguf(tiny_gguf, base_hash(tiny_gguf), adapter, name="tiny")
    monkeypatch.setattr(GGUF, "rewrite", lambda *_: pytest.fail("merged again"))
    assert merged_gguf(tiny_gguf, base_hash(tiny_gguf), adapter, name="tiny") == first
    assert first.parent == cache / "merged"


def test_bf16_weights_are_read(copied):
    import torch
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    path = str(copied / "adapter_model.safetensors")
    exact = read_adapter(copied).parts
    save_torch({name: tensor.to(torch.bfloat16) for name, tensor in load_torch(path).items()}, path)
    for name, part in read_adapter(copied).parts.items():
        assert part.up.dtype == numpy.float32
        assert numpy.allclose(part.delta(), exact[name].delta(), atol=0.02, rtol=0.05)


def test_an_adapter_for_another_base_is_refused_by_name(cache, tiny_gguf, copied):
    (copied / "memagent.json").write_text(json.dumps({"base_sha256": "f" * 64, "protocol": "gated"}))
    with pytest.raises(SetupError, match=r"trained on .*ffffffffffff.*not on tiny-base \([0-9a-f]{12}\)") as caught:
        merged_gguf(tiny_gguf, base_hash(tiny_gguf), read_adapter(copied), name="tiny-base")
    assert "\n" not in str(caught.value)
    assert not (cache / "merged").exists()


def test_an_adapter_of_this_base_is_taken(cache, tiny_gguf, copied):
    (copied / "memagent.json").write_text(json.dumps({"base_sha256": base_hash(tiny_gguf), "protocol": "gated"}))
    adapter = read_adapter(copied)
    assert merged_gguf(tiny_gguf, base_hash(tiny_gguf), adapter, name="tiny").is_file()
    assert adapter.notes == ()


def test_without_a_card_only_shapes_are_checked_and_that_is_said(tiny_gguf, adapter_folder):
    adapter = read_adapter(adapter_folder)
    assert len(adapter.notes) == 1 and "does not say which weights" in adapter.notes[0]
    first, part = min(adapter.parts.items())
    with pytest.raises(SetupError, match=re.escape(f"does not fit other: it changes {first} of shape {part.shape}")):
        adapter.check("other", "x", dict.fromkeys(adapter.parts, (32, 32)))
    with pytest.raises(SetupError, match="the model has none"):
        adapter.check("other", "x", {})


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_one_line(copied, name):
    (copied / name).unlink()
    with pytest.raises(SetupError, match=f"it has no {name}"):
        read_adapter(copied)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_config.json", b"{"),
        ("adapter_config.json", b"[]"),
        ("adapter_config.json", b"{}"),
        ("adapter_config.json", b'{"r": "four", "lora_alpha": 1}'),
        ("adapter_config.json", b'{"r": 0, "lora_alpha": 1}'),
        ("adapter_config.json", b'{"r": 4, "lora_alpha": NaN}'),
        ("adapter_config.json", b'{"r": 4, "lora_alpha": 1, "rank_pattern": {"*": 8}}'),
        ("adapter_config.json", b'{"r": 4, "lora_alpha": 1, "rank_pattern": ["a"]}'),
        ("adapter_config.json", b"[" * 100_000),
        ("adapter_model.safetensors", b""),
        ("adapter_model.safetensors", b"\xff" * 10),
        ("memagent.json", b"\xff"),
    ],
)
def test_a_corrupt_file_is_one_line(copied, name, content):
    (copied / name).write_bytes(content)
    with pytest.raises(SetupError, match=r"corrupt|no JSON") as caught:
        read_adapter(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "halves", [{}, {"A": (2, 8)}, {"A": (2, 8), "B": (8, 3)}, {"A": (2,), "B": (8, 2)}, {"X": (2, 2)}]
)
def test_weights_that_are_no_pairs_are_refused(copied, halves):
    tensors = {
        f"base_model.model.model.norm.lora_{half}.weight": numpy.zeros(shape, numpy.float32)
        for half, shape in halves.items()
    }
    save_file(tensors, str(copied / "adapter_model.safetensors"))
    with pytest.raises(SetupError, match="corrupt"):
        read_adapter(copied)


@pytest.mark.parametrize("setting", [{"peft_type": "IA3"}, {"use_dora": True}, {"bias": "all"}])
def test_other_kinds_than_plain_lora_are_refused(copied, setting):
    config = json.loads((copied / "adapter_config.json").read_text())
    (copied / "adapter_config.json").write_text(json.dumps({**config, **setting}))
    with pytest.raises(SetupError, match="LoRA"):
        read_adapter(copied)


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"chunk_tokens": "many"}, r"chunk_tokens = 'many', which is no int"),
        ({"memory_tokens": True}, r"memory_tokens = True, which is no int"),
        ({"gate": "high"}, r"gate = 'high', which is no float or int"),
        ({"sift": float("inf")}, r"sift = inf, which is no float or int"),
        ({"verbatim": "false"}, r"verbatim = 'false', which is no bool"),
    ],
)
def test_a_card_that_says_what_cannot_be(copied, told, complaint):
    (copied / "memagent.json").write_text(json.dumps({"gate": 1, "reread": None, **told}))
    with pytest.raises(SetupError, match=complaint):
        suggested(read_adapter(copied))


def test_hashes_tell_weights_apart_and_are_kept(cache, tmp_path, tiny_folder, tiny_gguf, monkeypatch):
    other = tiny.write_folder(tmp_path / "other", tiny.weights(seed=1))
    digests = {base_hash(tiny_folder), base_hash(other), base_hash(tiny_gguf)}
    assert len(digests) == 3
    monkeypatch.setattr(GGUF, "weights_hash", lambda *_: pytest.fail("hashed again"))
    assert base_hash(tiny_gguf) in digests
    tiny.write_folder(other, tiny.weights(seed=2))
    assert base_hash(other) not in digests


def test_a_folder_without_weights_has_no_hash(cache, tmp_path):
    with pytest.raises(SetupError, match="holds no safetensors"):
        base_hash(tmp_path)


def test_the_embedded_models_hash_is_its_manifests(embedded):
    assert base_hash(embedded).startswith("ef0b0679abef")
