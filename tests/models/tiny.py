"""A Llama of a few thousand random weights, as Hugging Face's files, as GGUF, and as a torch module."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WIDTH, LAYERS, HEADS, KV_HEADS, INNER, WINDOW = 64, 2, 4, 2, 128, 512
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n")]
VOCABULARY = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in MERGES)]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": INNER,
    "vocab_size": len(VOCABULARY),
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": WINDOW,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
Weights = dict[str, "numpy.typing.NDArray[numpy.float32]"]


def weights(seed: int = 0) -> Weights:
    """Random weights under Hugging Face's names, exact in F16."""
    rng = numpy.random.default_rng(seed)
    kv = WIDTH // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens": (len(VOCABULARY), WIDTH),
        "model.norm": (WIDTH,),
    }
    for layer in range(LAYERS):
        block = {
            "self_attn.q_proj": (WIDTH, WIDTH),
            "self_attn.k_proj": (kv, WIDTH),
            "self_attn.v_proj": (kv, WIDTH),
            "self_attn.o_proj": (WIDTH, WIDTH),
            "mlp.gate_proj": (INNER, WIDTH),
            "mlp.up_proj": (INNER, WIDTH),
            "mlp.down_proj": (WIDTH, INNER),
            "input_layernorm": (WIDTH,),
            "post_attention_layernorm": (WIDTH,),
        }
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    drawn = {f"{name}.weight": rng.normal(0, 0.3, shape) + (len(shape) == 1) for name, shape in shapes.items()}
    return {name: array.astype(numpy.float16).astype(numpy.float32) for name, array in drawn.items()}


def write_folder(folder: Path, tensors: Weights) -> Path:
    """config.json, model.safetensors and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path, template: str | None = TEMPLATE) -> Path:
    """tokenizer.json and its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    built = Tokenizer(models.BPE({token: i for i, token in enumerate(VOCABULARY)}, MERGES))
    digits = pre_tokenizers.Digits(individual_digits=True)
    built.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    built.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", "bos_token": {"content": "<|im_start|>"}, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_gguf(
    path: Path,
    tensors: Weights,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16,
    pre: str = "smollm",
) -> Path:
    """The same model as llama.cpp's converter writes it."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(WINDOW)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(1)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(VOCABULARY)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(VOCABULARY) - len(CONTROL)))
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, array in tensors.items():
        _add(writer, name, array, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def torch_model(tensors: Weights):
    """The same model in transformers, fp32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).eval()
    missing = model.load_state_dict({name: torch.tensor(a) for name, a in tensors.items()}, strict=False)
    assert missing.missing_keys == ["lm_head.weight"] and not missing.unexpected_keys
    model.tie_weights()
    return model


def greedy(model, prompt: list[int], count: int) -> tuple[list[int], list[float]]:
    """Token by token over the whole sequence, without a cache: what every engine must equal."""
    import torch

    ids, logprobs = list(prompt), []
    with torch.inference_mode():
        for _ in range(count):
            row = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(row.argmax()))
            logprobs.append(float(row.max()))
            if ids[-1] == CONFIG["eos_token_id"]:
                break
    return ids[len(prompt) :], logprobs


def _add(writer: gguf.GGUFWriter, name: str, array, kind: gguf.GGMLQuantizationType) -> None:
    if name == "model.embed_tokens.weight":
        target = "token_embd.weight"
    elif name == "model.norm.weight":
        target = "output_norm.weight"
    else:
        _, _, layer, rest = name.split(".", 3)
        target = f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"
    if name.endswith(("q_proj.weight", "k_proj.weight")):  # as in llama.cpp's convert_hf_to_gguf.py
        heads = HEADS if "q_proj" in name else KV_HEADS
        array = array.reshape(heads, 2, array.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(array.shape)
    if array.ndim == 1:
        writer.add_tensor(target, array.astype(numpy.float32))
    else:
        writer.add_tensor(target, gguf.quants.quantize(array, kind), raw_dtype=kind)
