"""The sizes of a decoder-only model that its costs follow from: named ones, or those of a config.json.

It does not know what is computed with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memagent.errors import InputError, OptionError, SetupError
from memagent.models.paths import user_path
from memagent.models.tokenizers import HUB_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes of a transformer with gated MLPs and grouped-query attention (Llama, Qwen, Mistral and their like).

    `experts` is how many MLPs a layer holds and `active` how many of them a token passes (both 1 where there is
    no mixture); `tied` tells whether the embedding serves as the output head. Biases, norms and routers are left out:
    they are far below a percent.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    tied: bool = False
    experts: int = 1
    active: int = 1
    window: int | None = None

    @property
    def attention_weights(self) -> int:
        """Of all layers' projections to queries, keys, values and back."""
        return self.layers * self.hidden * self.head_width * (2 * self.heads + 2 * self.kv_heads)

    @property
    def block_weights(self) -> int:
        """Of all layers, as far as one token passes them."""
        return self.attention_weights + self.layers * self.active * 3 * self.hidden * self.inner

    @property
    def head_weights(self) -> int:
        """Of the output head, as many as the embedding has."""
        return self.vocabulary * self.hidden

    @property
    def weights(self) -> int:
        """Of the whole model, in memory."""
        mlp = self.layers * self.experts * 3 * self.hidden * self.inner
        return self.attention_weights + mlp + self.head_weights * (1 if self.tied else 2)

    @property
    def state_values(self) -> int:
        """Keys and values that one token leaves behind."""
        return 2 * self.layers * self.kv_heads * self.head_width


def architecture(model: str) -> Architecture:
    """The architecture called `model`: a name of `NAMED`, a config.json, a folder that holds one, or a hub id.

    Raises:
        OptionError: there is none.
        InputError: the file is no configuration of a model of this kind.
        SetupError: the hub cannot be reached or has no such model.
    """
    name = model.removeprefix("local:")
    if name.lower() in NAMED:
        return NAMED[name.lower()]
    path = user_path(name)
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return _of_file(path)
    if "/" not in name or not HUB_ID.fullmatch(name):
        raise OptionError(f"there is no model {model}: take a config.json, a hub id, or {', '.join(NAMED)}")
    return _of_file(_from_hub(name), name=name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(name, "config.json"))
    except (HfHubHTTPError, OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise SetupError(f"the config.json of {name} cannot be fetched: {why}; give a file instead") from error


def _of_file(path: Path, *, name: str | None = None) -> Architecture:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return of_config(config, name=name or (path.parent.name if path.name == "config.json" else path.stem))
    except KeyError as error:
        raise InputError(f"{path} has no field {error}: it is no configuration of a decoder-only model") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no configuration of a model: {error}") from error


def of_config(config: Mapping[str, Any], *, name: str) -> Architecture:
    """The architecture of a Hugging Face configuration.

    Raises:
        KeyError: a size is missing.
        ValueError, TypeError: a size is no number above 0.
    """
    found = config.get("text_config", config)
    hidden, heads = _size(found, "hidden_size"), _size(found, "num_attention_heads")
    experts = next((int(found[key]) for key in _EXPERTS if found.get(key)), 1)
    inner = "moe_intermediate_size" if experts > 1 and found.get("moe_intermediate_size") else "intermediate_size"
    return Architecture(
        name=name,
        layers=_size(found, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=_size(found, "num_key_value_heads") if found.get("num_key_value_heads") else heads,
        head_width=_size(found, "head_dim") if found.get("head_dim") else hidden // heads,
        inner=_size(found, inner),
        vocabulary=_size(found, "vocab_size"),
        tied=bool(found.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        experts=experts,
        active=_size(found, "num_experts_per_tok") if experts > 1 else 1,
        window=found.get("max_position_embeddings"),
    )


_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def _size(config: Mapping[str, Any], name: str) -> int:
    value = int(config[name])
    if value < 1:
        raise ValueError(f"{name} is {value}")
    return value


def _named(name: str, sizes: str, window: int, *, width: int | None = None, tied: bool = False) -> Architecture:
    layers, hidden, heads, kv_heads, inner, vocabulary = map(int, sizes.split())
    return Architecture(
        name=name,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_width=width or hidden // heads,
        inner=inner,
        vocabulary=vocabulary,
        tied=tied,
        window=window,
    )


# Published configurations: layers, hidden, heads, key-value heads, inner width, vocabulary; window.
NAMED: Mapping[str, Architecture] = {
    one.name: one
    for one in (
        _named("smollm2-135m", "30 576 9 3 1536 49152", 8192, tied=True),
        _named("smollm2-360m", "32 960 15 5 2560 49152", 8192, tied=True),
        _named("smollm2-1.7b", "24 2048 32 32 8192 49152", 8192, tied=True),
        _named("qwen2.5-0.5b", "24 896 14 2 4864 151936", 32768, tied=True),
        _named("qwen2.5-1.5b", "28 1536 12 2 8960 151936", 32768, tied=True),
        _named("qwen2.5-3b", "36 2048 16 2 11008 151936", 32768, tied=True),
        _named("qwen2.5-7b", "28 3584 28 4 18944 152064", 32768),
        _named("qwen2.5-14b", "48 5120 40 8 13824 152064", 32768),
        _named("qwen2.5-32b", "64 5120 40 8 27648 152064", 32768),
        _named("qwen2.5-72b", "80 8192 64 8 29568 152064", 32768),
        _named("qwen3-4b", "36 2560 32 8 9728 151936", 40960, width=128, tied=True),
        _named("qwen3-8b", "36 4096 32 8 12288 151936", 40960, width=128),
        _named("llama-3.1-8b", "32 4096 32 8 14336 128256", 131072),
        _named("llama-3.1-70b", "80 8192 64 8 28672 128256", 131072),
    )
}
