import gguf
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tests.models import tiny

from memagent.errors import SetupError
from memagent.models.gguf_files import GGUF, hub_name, to_gguf_rows, to_hub_rows


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5))
def test_row_orders_are_inverse(heads, half, columns):
    array = numpy.random.default_rng(0).normal(size=(heads * 2 * half, columns))
    assert numpy.array_equal(to_hub_rows(to_gguf_rows(array, heads), heads), array)
    assert numpy.array_equal(to_gguf_rows(array, None), array)


def test_safetensors_have_the_weights_that_were_converted(tiny_gguf, tmp_path):
    GGUF(tiny_gguf).write_safetensors(tmp_path / "model.safetensors")
    written, expected = load_file(str(tmp_path / "model.safetensors")), tiny.weights()
    assert written.keys() == expected.keys()
    assert all(numpy.array_equal(written[name], expected[name]) for name in expected)


def test_the_configuration_is_complete(tiny_gguf):
    config = GGUF(tiny_gguf).hub_config()
    assert config.pop("rms_norm_eps") == pytest.approx(1e-5)
    expected = {name: value for name, value in tiny.CONFIG.items() if name != "rms_norm_eps"}
    assert {name: config.get(name) for name in expected} == expected


def test_the_tokenizer_is_the_one_converted(tiny_gguf, tiny_folder, tmp_path):
    from memagent.models.tokenizers import load_tokenizer

    GGUF(tiny_gguf).write_tokenizer(tmp_path)
    built, expected = load_tokenizer(str(tmp_path)), load_tokenizer(str(tiny_folder))
    text = "the tin in 1234 <|im_end|> 你好 😀\n\t x"
    assert built.encode(text) == expected.encode(text)
    assert built.special_tokens == expected.special_tokens


def test_a_quantised_file_is_written_as_f16_with_the_same_hash(tmp_path):
    quantised = GGUF(tiny.write_gguf(tmp_path / "q.gguf", tiny.weights(), gguf.GGMLQuantizationType.Q8_0))
    quantised.rewrite(tmp_path / "f16.gguf")
    rewritten = GGUF(tmp_path / "f16.gguf")
    assert rewritten.weights_hash() == quantised.weights_hash()
    assert rewritten.shapes() == quantised.shapes()
    assert rewritten.field("general.file_type") == gguf.LlamaFileType.MOSTLY_F16
    assert rewritten.field("tokenizer.ggml.merges") == quantised.field("tokenizer.ggml.merges")
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(str(tmp_path / "f16.gguf")).tensors}
    assert kinds["blk.0.attn_q.weight"] == "F16" and kinds["output_norm.weight"] == "F32"


def test_the_hash_tells_other_weights(tiny_gguf, tmp_path):
    other = tiny.write_gguf(tmp_path / "other.gguf", tiny.weights(seed=1))
    assert GGUF(other).weights_hash() != GGUF(tiny_gguf).weights_hash()


def test_window_and_end(tiny_gguf):
    assert (GGUF(tiny_gguf).window, GGUF(tiny_gguf).end_ids) == (tiny.WINDOW, (2,))


@pytest.mark.parametrize("content", [None, b"", b"GGUF", b"x" * 1000])
def test_what_is_no_gguf_is_one_line(tmp_path, content):
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=r"bad\.gguf") as caught:
        GGUF(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_tokenizer_is_refused(tmp_path):
    path = tiny.write_gguf(tmp_path / "other.gguf", tiny.weights(), pre="qwen2")
    with pytest.raises(SetupError, match=r"put its tokenizer\.json beside it"):
        GGUF(path).write_tokenizer(tmp_path)


def test_an_unknown_tensor_is_refused():
    with pytest.raises(SetupError, match="ssm_in"):
        hub_name("blk.0.ssm_in.weight")
