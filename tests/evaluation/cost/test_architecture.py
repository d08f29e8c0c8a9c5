import json

import pytest
from tests.models import tiny

from memagent.errors import InputError, MemagentError, OptionError, SetupError
from memagent.evaluation.cost.architecture import NAMED, architecture, of_config

LLAMA = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 500,
    "max_position_embeddings": 2048,
}


def test_weights_are_those_of_the_real_module():
    model = tiny.torch_model(tiny.weights())
    counted = sum(parameter.numel() for name, parameter in model.named_parameters() if "norm" not in name)
    assert of_config(tiny.CONFIG, name="tiny").weights == counted


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("smollm2-135m", 0.1345),
        ("qwen2.5-7b", 7.616),
        ("qwen2.5-14b", 14.77),
        ("llama-3.1-8b", 8.03),
        ("qwen3-4b", 4.02),
    ],
)
def test_named_models_have_their_published_size(name, billions):
    assert architecture(name).weights / 1e9 == pytest.approx(billions, rel=0.002)
    assert architecture(name.upper()) is NAMED[name]


def test_a_mixture_computes_with_its_active_experts_alone():
    mixture = {**LLAMA, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    found, plain = of_config(mixture, name="m"), of_config({**LLAMA, "intermediate_size": 32}, name="p")
    mlp = 2 * 3 * 64 * 32
    assert found.block_weights == plain.block_weights + mlp
    assert found.weights == plain.weights + 7 * mlp


def test_sizes_are_found_in_a_file_a_folder_and_a_text_part(tmp_path):
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "config.json"
    path.write_text(json.dumps({"model_type": "x", "text_config": {**LLAMA, "head_dim": 32}}))
    found = architecture(str(path))
    assert found == architecture(str(tmp_path / "mine")) and found.name == "mine"
    assert (found.head_width, found.kv_heads, found.window, found.tied) == (32, 2, 2048, False)
    assert of_config({k: v for k, v in LLAMA.items() if "key_value" not in k}, name="x").kv_heads == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no configuration of a model"),
        ("[]", "is no configuration of a model"),
        ("{}", "has no field 'hidden_size'"),
        (json.dumps({**LLAMA, "hidden_size": "wide"}), "is no configuration of a model"),
        (json.dumps({**LLAMA, "num_hidden_layers": 0}), "num_hidden_layers is 0"),
    ],
)
def test_what_is_no_configuration(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        architecture(str(path))


def test_an_unknown_model_names_the_known_ones():
    with pytest.raises(OptionError, match=r"qwen2\.5-7b"):
        architecture("no/such/model")


def test_a_hub_model_offline_is_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match=r"config.json of nobody/nothing cannot be fetched") as caught:
        architecture("nobody/nothing")
    assert isinstance(caught.value, MemagentError) and "\n" not in str(caught.value)
