"""What GET /v1/models says: which models there are, and how long the window of ours is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from memagent.models.endpoint.failures import sound

# vLLM and SGLang; llama.cpp, newer and older (under `meta`); Groq; OpenRouter, Together; Mistral; Anthropic.
_WINDOWS = (
    "max_model_len",
    "n_ctx",
    "n_ctx_train",
    "context_window",
    "context_length",
    "max_context_length",
    "max_input_tokens",
)
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Listing:
    """The models of an endpoint; `window` is that of the one asked for, None if it does not say."""

    names: tuple[str, ...] = ()
    window: int | None = None

    @classmethod
    def read(cls, data: object, model: str) -> Listing:
        """From a decoded body, whatever it is. A server of one model means that one, however it is called."""
        entries = data.get("data") if isinstance(data, dict) else data
        models = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        named = [entry for entry in models if entry.get("id") == model] or (models if len(models) == 1 else [])
        names = tuple(sound(str(entry["id"])) for entry in models if entry.get("id"))
        return cls(names, _window(named[0]) if named else None)

    def offer(self, wanted: str) -> str:
        """The names, nearest to `wanted` first, for a message; "" where there are none."""
        near = difflib.get_close_matches(wanted, self.names, n=_SHOWN, cutoff=0.4)
        shown = [*near, *(name for name in self.names if name not in near)][:_SHOWN]
        more = len(self.names) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def _window(entry: dict[str, object]) -> int | None:
    meta = entry.get("meta")
    for fields in (entry, meta if isinstance(meta, dict) else {}):
        for name in _WINDOWS:
            value = fields.get(name)
            if isinstance(value, int) and value > 0:
                return value
    return None
