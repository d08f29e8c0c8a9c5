"""Scaled rotary positions against the papers' formulas, worked out in loops."""

import math

import pytest
from tests.models import tiny

from memagent.errors import OptionError
from memagent.models.base import Prompt, Request, Sampling
from memagent.models.engines.base import Job
from memagent.models.engines.rope import RopeScaling, length_setter
from memagent.models.engines.torch import TorchBackend, load_model
from memagent.models.local import LocalModel

BASE, WIDTH = 10_000.0, tiny.WIDTH // tiny.HEADS
PLAIN = [BASE ** (-2 * pair / WIDTH) for pair in range(WIDTH // 2)]


def yarn(factor):
    """Section 3.2 of arXiv 2309.00071: wavelengths far below the window stay, those beyond it are interpolated."""

    def pair_of(turns):
        return WIDTH * math.log(tiny.WINDOW / (2 * math.pi * turns)) / (2 * math.log(BASE))

    low, high = max(0, math.floor(pair_of(32))), min(WIDTH - 1, math.ceil(pair_of(1)))
    found = []
    for pair, frequency in enumerate(PLAIN):
        ramp = min(1.0, max(0.0, (pair - low) / (high - low)))
        found.append(frequency * (1 - ramp) + frequency / factor * ramp)
    return found


def ntk(tokens):
    """Section 3.3: the base grows with how far the text goes beyond the window."""
    base = BASE * max(1.0, tokens / tiny.WINDOW) ** (WIDTH / (WIDTH - 2))
    return [base ** (-2 * pair / WIDTH) for pair in range(WIDTH // 2)]


def rotary(folder, text):
    return load_model(folder, precision="fp32", scaling=RopeScaling.parse(text)).base_model.rotary_emb


def test_linear_and_yarn_are_the_papers(tiny_folder):
    linear, stretched = rotary(tiny_folder, "linear:4"), rotary(tiny_folder, "yarn:4")
    assert linear.inv_freq.tolist() == pytest.approx([frequency / 4 for frequency in PLAIN])
    assert stretched.inv_freq.tolist() == pytest.approx(yarn(4), rel=1e-5)
    assert (linear.attention_scaling, stretched.attention_scaling) == (1.0, pytest.approx(0.1 * math.log(4) + 1))


@pytest.mark.parametrize("tokens", [10, 512, 513, 1024, 5000])
def test_dynamic_follows_the_texts_own_length(tiny_folder, tokens):
    model = load_model(tiny_folder, precision="fp32", scaling=RopeScaling.parse("dynamic:16"))
    set_length = length_setter(model)
    set_length(9000)
    set_length(tokens)
    assert model.base_model.rotary_emb.inv_freq.tolist() == pytest.approx(ntk(tokens), rel=1e-5)


def run(backend, *jobs):
    for key, job in enumerate(jobs):
        backend.add(key, job)
    found = {}
    while backend.busy():
        found.update(backend.step())
    return [found[key].token_ids for key in range(len(jobs))]


def job(tokens, *, start=3):
    return Job(
        prompt=tuple(start + i % 200 for i in range(tokens)), max_tokens=5, sampling=Sampling(), shared=tokens // 2
    )


def test_a_dynamic_reply_does_not_depend_on_what_was_asked_before(tiny_folder):
    model = load_model(tiny_folder, precision="fp32", scaling=RopeScaling.parse("dynamic:4"))
    backend = TorchBackend(model, end_ids=(), by_length=True)
    jobs = [job(700), job(1900, start=5), job(90), job(700), job(600, start=9)]
    together = run(backend, *jobs)
    alone = []
    for one in jobs:
        fresh = load_model(tiny_folder, precision="fp32", scaling=RopeScaling.parse("dynamic:4"))
        alone += run(TorchBackend(fresh, end_ids=(), by_length=True), one)
    assert together == alone
    plain = TorchBackend(load_model(tiny_folder, precision="fp32"), end_ids=())
    assert run(plain, jobs[2]) == [together[2]]


@pytest.mark.parametrize("text", ["yarn:4", "dynamic:4", "linear:4"])
async def test_the_window_is_stretched_and_the_model_is_another(cache, tiny_folder, text):
    plain = LocalModel.open(str(tiny_folder), engine="torch", precision="fp32")
    scaled = LocalModel.open(str(tiny_folder), precision="fp32", rope=text)
    assert (plain.window, scaled.window) == (tiny.WINDOW, 4 * tiny.WINDOW)
    assert scaled.identity == {**plain.identity, "rope": text}
    done = await scaled.generate(Request(prompt=Prompt(segments=("the tin " * 250,)), max_tokens=4))
    assert done.prompt_tokens > tiny.WINDOW and 0 < done.completion_tokens <= 4
    await plain.aclose()
    await scaled.aclose()


@pytest.mark.parametrize(("tokens", "factor"), [(10, 2), (900, 2), (1024, 2), (1025, 4), (5000, 16)])
def test_a_window_may_be_asked_for_by_its_tokens(tokens, factor):
    assert RopeScaling.parse(f"yarn@{tokens}").window(tiny.WINDOW) == factor * tiny.WINDOW


NO_SCALING = ["yarn@", "yarn@x", "wave@9", "yarn", "yarn:", "yarn:x", "yarn:nan", "yarn:0.5", "yarn:inf", "wave:4", ""]


@pytest.mark.parametrize("text", NO_SCALING)
def test_what_is_no_scaling(text):
    with pytest.raises(OptionError, match="yarn:4") as caught:
        RopeScaling.parse(text)
    assert "\n" not in str(caught.value)


def test_only_transformers_scales(cache, tiny_folder, tiny_gguf):
    for source, engine in ((tiny_folder, "openvino"), (tiny_gguf, "auto")):
        with pytest.raises(OptionError, match="take the engine torch"):
            LocalModel.open(str(source), engine=engine, rope="yarn:4")


def test_positions_that_are_scaled_already(tiny_folder, tmp_path, cache):
    import json

    folder = tiny.write_folder(tmp_path / "scaled", tiny.weights())
    config = {**tiny.CONFIG, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(OptionError, match="cannot be scaled"):
        LocalModel.open(str(folder), rope="yarn:4")
