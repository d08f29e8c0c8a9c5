"""GGUF files of Llama-like models: written again as F16, hashed, and turned into Hugging Face's files.

It does not know where a file comes from, nor who runs it. Arrays are (out, in) for matrices.
llama.cpp stores the query and key rows of the `llama` architecture in another order than Hugging
Face; `to_gguf_rows` and `to_hub_rows` go from one to the other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.errors import SetupError
from memagent.extras import extra

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Array = NDArray[numpy.floating[Any]]

_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3


class GGUF:
    """An opened GGUF file.

    Raises:
        SetupError: it is missing or no GGUF file.
    """

    def __init__(self, path: Path) -> None:
        with extra("local", "reading a GGUF file"):
            import gguf
        self.path = path
        try:
            self._reader = gguf.GGUFReader(str(path))
            self.architecture = str(self.field("general.architecture"))
        except (OSError, ValueError, IndexError) as error:
            raise SetupError(f"{path} is not a readable GGUF file: {error}") from error

    def field(self, name: str) -> Any:
        """A metadata value, or None."""
        found = self._reader.get_field(name)
        return None if found is None else found.contents()

    def setting(self, name: str) -> Any:
        """A metadata value of this architecture, such as `context_length`."""
        return self.field(f"{self.architecture}.{name}")

    @property
    def window(self) -> int:
        """Prompt plus completion, in tokens.

        Raises:
            SetupError: the file does not say.
        """
        length = self.setting("context_length")
        if not isinstance(length, int):
            raise SetupError(f"{self.path} does not say how long its window is ({self.architecture}.context_length)")
        return length

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end a completion."""
        names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
        return tuple(dict.fromkeys(int(i) for i in map(self.field, names) if i is not None))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape under its GGUF name, (out, in) for matrices."""
        return {tensor.name: tuple(int(n) for n in reversed(tensor.shape)) for tensor in self._reader.tensors}

    def heads(self, name: str) -> int | None:
        """The heads by which rows of this tensor are re-ordered, or None where they are not."""
        found = re.fullmatch(r"blk\.\d+\.attn_([qk])\.(weight|bias)", name)
        if self.architecture != "llama" or found is None:
            return None
        query = int(self.setting("attention.head_count"))
        return query if found[1] == "q" else int(self.setting("attention.head_count_kv") or query)

    def weights_hash(self) -> str:
        """SHA-256 over name, shape and dequantised F16 bytes of every tensor, in the order of names.

        A quantised file and the F16 file written from it have the same hash.
        """
        import numpy

        digest = hashlib.sha256()
        for tensor in sorted(self._reader.tensors, key=lambda tensor: str(tensor.name)):
            array = _dequantised(tensor).astype(numpy.float16)
            digest.update(f"{tensor.name}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def rewrite(self, target: Path, change: Callable[[str, Array], Array] = lambda _, array: array) -> None:
        """Write an F16 file (vectors F32) whose tensors passed through `change(name, array)`."""
        import gguf
        import numpy

        writer = gguf.GGUFWriter(str(target), self.architecture)
        self._copy_metadata(writer)
        kinds = {t.name: numpy.float16 if len(t.shape) > 1 else numpy.float32 for t in self._reader.tensors}
        for name, shape in self.shapes().items():
            kind = numpy.dtype(kinds[name])
            writer.add_tensor_info(name, shape, kind, int(numpy.prod(shape)) * kind.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in self._reader.tensors:
            array = change(tensor.name, _dequantised(tensor)).astype(kinds[tensor.name])
            writer.write_tensor_data(numpy.ascontiguousarray(array))
        writer.close()

    def _copy_metadata(self, writer: Any) -> None:
        import gguf

        for name, found in self._reader.fields.items():
            if name.startswith("GGUF.") or name == "general.architecture":
                continue
            kind = found.types[0]
            inner = found.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            value = gguf.LlamaFileType.MOSTLY_F16 if name == "general.file_type" else found.contents()
            writer.add_key_value(name, value, kind, sub_type=inner)

    def write_safetensors(self, target: Path) -> None:
        """The same weights under Hugging Face's names and row order, F16 (vectors F32)."""
        with extra("local", "writing safetensors"):
            import numpy
            from safetensors.numpy import save_file
        tensors = {}
        for tensor in self._reader.tensors:
            array = to_hub_rows(_dequantised(tensor), self.heads(tensor.name))
            kind = numpy.float16 if array.ndim > 1 else numpy.float32
            tensors[hub_name(tensor.name)] = numpy.ascontiguousarray(array.astype(kind))
        save_file(tensors, str(target), metadata={"format": "pt"})

    def hub_config(self) -> dict[str, Any]:
        """config.json for transformers (`llama` only).

        Raises:
            SetupError: another architecture.
        """
        if self.architecture != "llama":
            raise SetupError(f"{self.path.name} has the architecture {self.architecture}; only llama is converted")
        heads = int(self.setting("attention.head_count"))
        width = int(self.setting("embedding_length"))
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": width,
            "head_dim": width // heads,
            "intermediate_size": int(self.setting("feed_forward_length")),
            "max_position_embeddings": self.window,
            "num_attention_heads": heads,
            "num_hidden_layers": int(self.setting("block_count")),
            "num_key_value_heads": int(self.setting("attention.head_count_kv") or heads),
            "rms_norm_eps": float(self.setting("attention.layer_norm_rms_epsilon")),
            "rope_theta": float(self.setting("rope.freq_base") or 10000.0),
            "tie_word_embeddings": "output.weight" not in self.shapes(),
            "vocab_size": self.shapes()["token_embd.weight"][0],
            "bos_token_id": self.field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.field("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self.field("tokenizer.ggml.padding_token_id"),
            "dtype": "float16",
        }

    def write_tokenizer(self, folder: Path) -> None:
        """tokenizer.json and tokenizer_config.json with the chat template, built without transformers.

        Raises:
            SetupError: its text is split in a way that is not known here.
        """
        if (self.field("tokenizer.ggml.model"), self.field("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
            raise SetupError(f"the tokenizer inside {self.path.name} is not known; put its tokenizer.json beside it")
        names = self.field("tokenizer.ggml.tokens")
        kinds = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
        ids = {kind: self.field(f"tokenizer.ggml.{name}_token_id") for kind, name in kinds.items()}
        config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
        config |= {kind: names[i] for kind, i in ids.items() if i is not None}
        config["chat_template"] = self.field("tokenizer.chat_template")
        config["model_max_length"] = self.window
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        _byte_level(self, names).save(str(folder / "tokenizer.json"))


def hub_name(name: str) -> str:
    """Hugging Face's name of a GGUF tensor, such as `model.layers.0.self_attn.q_proj.weight`."""
    stem, _, kind = name.rpartition(".")
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    if block is not None and block[2] in _BLOCK:
        return f"model.layers.{block[1]}.{_BLOCK[block[2]]}.{kind}"
    if stem in _TOP:
        return f"{_TOP[stem]}.{kind}"
    raise SetupError(f"the GGUF tensor {name} is of no Llama-like model")


def to_gguf_rows(array: Array, heads: int | None) -> Array:
    """Rows in llama.cpp's order: halves of each head interleaved. `heads` None leaves them."""
    if heads is None:
        return array
    halves = array.reshape(heads, 2, -1, *array.shape[1:])
    mixed: Array = halves.swapaxes(1, 2).reshape(array.shape)
    return mixed


def to_hub_rows(array: Array, heads: int | None) -> Array:
    """The inverse of `to_gguf_rows`."""
    if heads is None:
        return array
    pairs = array.reshape(heads, -1, 2, *array.shape[1:])
    parted: Array = pairs.swapaxes(1, 2).reshape(array.shape)
    return parted


def _dequantised(tensor: Any) -> Array:
    import gguf

    array: Array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return array


def _byte_level(file: GGUF, names: list[str]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    merges = [tuple(merge.split(" ")) for merge in file.field("tokenizer.ggml.merges")]
    built = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    built.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    built.decoder = decoders.ByteLevel()
    kinds = file.field("tokenizer.ggml.token_type")
    control = [name for name, kind in zip(names, kinds, strict=True) if kind == _CONTROL_TOKEN]
    built.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in control])
    return built
