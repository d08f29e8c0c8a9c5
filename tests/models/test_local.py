import asyncio
import builtins
import json
import sys

import pytest
from tests.models import tiny
from tests.models.test_adapters import merged_by_peft, write_adapter

from memagent.errors import OptionError, SetupError, StoppedError, WindowOverflow
from memagent.models import local as local_module
from memagent.models.base import Model, Prompt, Request, Sampling
from memagent.models.local import LocalModel


def request(*segments: str, max_tokens: int = 5, **more) -> Request:
    return Request(prompt=Prompt(segments=segments, shared=more.pop("shared", 0)), max_tokens=max_tokens, **more)


@pytest.fixture(params=["openvino", "torch"])
async def model(request, cache, tiny_folder, tiny_gguf):
    source = tiny_gguf if request.param == "openvino" else tiny_folder
    opened = LocalModel.open(str(source), engine=request.param, precision="fp32")
    yield opened
    await opened.aclose()


async def test_a_completion_carries_what_training_needs(model):
    typed: Model = model
    done = await typed.generate(request("the tin", max_tokens=6, logprobs=True))
    ids, logprobs = tiny.greedy(tiny.torch_model(tiny.weights()), list(done.prompt_ids), 6)
    assert list(done.prompt_ids) == model.tokenizer.chat(Prompt(segments=("the tin",)))
    assert (list(done.token_ids), done.completion_tokens) == (ids, len(ids))
    assert done.logprobs == pytest.approx(logprobs, abs=1e-4)
    assert done.prompt_tokens == len(done.prompt_ids) == model.prompt_tokens(Prompt(segments=("the tin",)))
    assert done.text == model.tokenizer.decode(ids)
    assert done.finish in ("stop", "length")


async def test_ids_and_logprobs_are_left_out_unless_asked_for(model):
    done = await model.generate(request("the tin"))
    assert (done.prompt_ids, done.token_ids, done.logprobs) == (None, None, None)


async def test_concurrent_calls_give_what_single_calls_give(model):
    asked = [request("shared ", "text " * n, "end", shared=2, logprobs=True) for n in (1, 9, 30)]
    together = await asyncio.gather(*map(model.generate, asked))
    for one, other in zip(together, [await model.generate(each) for each in asked], strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


async def test_samples_repeat_under_a_seed(model):
    asked = [request("the", sampling=Sampling(temperature=1.0, seed=seed), logprobs=True) for seed in (1, 1, 2)]
    first, again, other = [(await model.generate(each)).token_ids for each in asked]
    assert first == again != other


async def test_a_word_of_one_token_stops_there(model):
    free = await model.generate(request("a", max_tokens=6, logprobs=True))
    word = model.tokenizer.decode(free.token_ids[:1])
    if model.tokenizer.encode(word) != list(free.token_ids[:1]):
        pytest.fail("the tiny model's first token is no text of its own; take another prompt")
    stopped = await model.generate(request("a", max_tokens=6, one_token=word))
    assert (stopped.text, stopped.completion_tokens, stopped.finish) == (word, 1, "stop")
    unaffected = await model.generate(request("a", max_tokens=6, one_token="two tokens", logprobs=True))
    assert unaffected.token_ids == free.token_ids


async def test_what_does_not_fit_the_window_is_not_run(model):
    assert model.window == tiny.WINDOW
    with pytest.raises(WindowOverflow, match="window of 512") as caught:
        await model.generate(request("x" * 500, max_tokens=64))
    assert "\n" not in str(caught.value)
    with pytest.raises(WindowOverflow):
        await model.generate(request("x", max_tokens=tiny.WINDOW))


async def test_a_cancelled_call_frees_its_place(model):
    task = asyncio.create_task(model.generate(request("a", max_tokens=400)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await model.generate(request("a"))).completion_tokens > 0
    assert not model._engine._running


async def test_a_closed_model_says_so(model):
    await model.aclose()
    with pytest.raises(StoppedError, match="closed"):
        await model.generate(request("a"))


async def test_thinking_is_no_part_of_the_text(model, monkeypatch):
    monkeypatch.setattr(model._tokenizer, "decode", lambda ids: "<think>hm</think>\n\nso")
    done = await model.generate(request("a"))
    assert (done.text, done.thinking) == ("so", "hm")


async def test_identity_is_of_weights_adapter_and_precision(cache, tmp_path, tiny_folder):
    card = {
        "base_sha256": local_module.locate(str(tiny_folder)).base_sha256,
        "protocol": "gated",
        "memory_tokens": 64,
    }
    folder = write_adapter(tmp_path / "tuned", {**card, "steps": 3})
    bare = LocalModel.open(str(tiny_folder), engine="torch")
    tuned = LocalModel.open(str(tiny_folder), adapter=folder, engine="torch", precision="fp32")
    assert bare.identity.keys() == {"kind", "model", "weights"}
    assert (bare.identity["kind"], bare.identity["model"]) == ("local", "tiny-llama")
    assert tuned.identity.items() > bare.identity.items()
    assert tuned.identity["precision"] == "fp32" and len(tuned.identity["adapter"]) == 16
    assert (dict(bare.suggests), dict(tuned.suggests)) == ({}, {"protocol": "gated", "memory_tokens": 64})
    assert bare.notes == tuned.notes == ()
    done = await tuned.generate(request("the tin", logprobs=True))
    ids, logprobs = tiny.greedy(merged_by_peft(folder), list(done.prompt_ids), 5)
    assert list(done.token_ids) == ids
    assert done.logprobs == pytest.approx(logprobs, abs=1e-4)
    await bare.aclose()
    await tuned.aclose()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_an_adapter_for_another_base_is_refused(cache, tmp_path, tiny_folder, tiny_gguf, engine):
    folder = write_adapter(tmp_path / "tuned", {"base_sha256": "0" * 64})
    source = str(tiny_gguf if engine == "openvino" else tiny_folder)
    with pytest.raises(SetupError, match=r"trained on .*000000000000.* not on tiny"):
        LocalModel.open(source, adapter=str(folder), engine=engine)


@pytest.mark.parametrize(("setting", "value"), [("engine", "llama"), ("precision", "int4"), ("concurrency", 0)])
def test_impossible_options(setting, value):
    with pytest.raises(OptionError):
        LocalModel.open("smollm2-135m", **{setting: value})


@pytest.mark.parametrize("engine", ["auto", "openvino", "torch"])
@pytest.mark.parametrize("what", ["no/such/thing", "./gone.gguf", "empty", "plain.txt", "two"])
def test_a_source_that_is_none_is_one_line(cache, tmp_path, monkeypatch, what, engine):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain.txt").write_text("x")
    (tmp_path / "two").mkdir()
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "two" / name).write_text("x")
    with pytest.raises(SetupError, match=what) as caught:
        LocalModel.open(what, engine=engine)
    assert "\n" not in str(caught.value)


def test_an_engine_without_its_kind_of_weights_is_refused(cache, tiny_folder, tiny_gguf):
    with pytest.raises(SetupError, match="OpenVINO runs GGUF files"):
        LocalModel.open(str(tiny_folder), engine="openvino")
    with pytest.raises(SetupError, match="transformers runs safetensors"):
        LocalModel.open(str(tiny_gguf), engine="torch")


def test_weights_that_transformers_cannot_load_are_one_line(cache, tmp_path):
    folder = tiny.write_folder(tmp_path / "odd", tiny.weights())
    (folder / "config.json").write_text(json.dumps({**tiny.CONFIG, "model_type": "unheard-of"}))
    with pytest.raises(SetupError, match="transformers cannot load") as caught:
        LocalModel.open(str(folder), engine="torch")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("missing", "engine", "named"),
    [
        ("openvino_genai", "openvino", r"memagent\[local\]"),
        ("gguf", "openvino", r"memagent\[local\]"),
        ("jinja2", "openvino", r"memagent\[local\]"),
        ("transformers", "torch", r"memagent\[torch\]"),
    ],
)
def test_a_missing_extra_is_named(cache, monkeypatch, tiny_folder, tiny_gguf, missing, engine, named):
    without(monkeypatch, missing)
    with pytest.raises(SetupError, match=named):
        LocalModel.open(str(tiny_gguf if engine == "openvino" else tiny_folder), engine=engine)


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Importing `missing` fails as if it were not installed."""
    real = builtins.__import__

    def refuse(name: str, *more, **named):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, *more, **named)

    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize(
    ("gpu", "installed", "source", "chosen"),
    [
        (True, {"torch", "openvino_genai"}, "both", "torch"),
        (False, {"torch", "openvino_genai"}, "both", "openvino"),
        (False, {"torch"}, "both", "torch"),
        (False, {"torch", "openvino_genai"}, "folder", "torch"),
        (True, {"torch", "openvino_genai"}, "gguf", "openvino"),
    ],
)
def test_the_engine_is_chosen(monkeypatch, tmp_path, gpu, installed, source, chosen):
    monkeypatch.setattr(local_module, "_has_gpu", lambda: gpu)
    monkeypatch.setattr(local_module, "_installed", lambda module: module in installed)
    found = local_module.Source(
        "m", tmp_path if source != "folder" else None, tmp_path if source != "gguf" else None, tokenizer=None
    )
    assert local_module._choose_engine("auto", found) == chosen


def test_without_any_engine_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(local_module, "_has_gpu", lambda: False)
    monkeypatch.setattr(local_module, "_installed", lambda module: False)
    with pytest.raises(SetupError, match=r"memagent\[local\]"):
        local_module._choose_engine("auto", local_module.Source("m", tmp_path, tmp_path, tokenizer=None))


async def test_the_embedded_model_answers(embedded):
    """Also the one place where its two forms, GGUF and safetensors, are held against each other."""
    answers = []
    for engine in ("openvino", "torch"):
        model = LocalModel.open(engine=engine, precision="fp32")
        assert model.notes == ("SmolLM2-135M-Instruct is untrained for reading: its answers may be weak",)
        assert model.window == 8192
        answers.append(await model.generate(request("What is the capital of France?", max_tokens=16, logprobs=True)))
        await model.aclose()
    assert "Paris" in answers[0].text
    assert answers[0].token_ids == answers[1].token_ids
    assert answers[0].logprobs == pytest.approx(answers[1].logprobs, abs=2e-3)


def test_the_home_of_nobody_is_one_line(cache, tiny_gguf):
    for source, adapter in (("~nouser/x", None), (str(tiny_gguf), "~nouser/x")):
        with pytest.raises(SetupError, match="~nouser/x names a home folder that there is not") as caught:
            LocalModel.open(source, adapter=adapter)
        assert "\n" not in str(caught.value)
