"""The policy's own tokenizer: where tokens end in a text, and a prompt as the model sees it.

Text is data here: a control token written out in a text is tokenised as the letters it is made of.
Only the chat template speaks control tokens. It does not know what runs the model.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memagent.errors import SetupError
from memagent.models.base import Prompt
from memagent.models.chat import ChatTemplate
from memagent.models.paths import user_path
from memagent.models.pull import WHEELS, pull_tokenizer
from memagent.models.thinking import OPENING

if TYPE_CHECKING:
    import tokenizers

FILE_NAME = "tokenizer.json"
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LOOKS_LIKE_CONTROL = re.compile(r"<.+>|\[[A-Z_/]+\]", re.DOTALL)
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


class HubTokenizer:
    """A tokenizer.json of Hugging Face, with the chat template beside it; see `memagent.tokens.Tokenizer`.

    Raises:
        SetupError: the file is missing or is no tokenizer.
    """

    exact = True

    def __init__(self, path: Path, *, name: str) -> None:
        self.name = name
        self._folder = path.parent
        try:
            self._settings = _mapping(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SetupError(f"there is no readable tokenizer at {path}: {_line(error)}") from error
        self._config = _read_json(self._folder / "tokenizer_config.json")
        self._plain = self._load(_as_data(self._settings))
        self._plain.encode_special_tokens = True

    @cached_property
    def special_tokens(self) -> tuple[str, ...]:
        """Strings that mean more than their letters to the model."""
        return tuple(added["content"] for added in self._settings.get("added_tokens", ()) if _is_control(added))

    def require_chat_template(self) -> None:
        """Fail now rather than at the first prompt.

        Raises:
            SetupError: there is no chat template, or none that takes a user turn.
        """
        _ = self._template

    @property
    def thinks(self) -> bool:
        """Whether the model was made to think aloud before it answers."""
        return OPENING in self.special_tokens or OPENING in (self._template_source or "")

    @property
    def opens_thinking(self) -> bool:
        """Whether the template itself opens the thinking, so that a completion starts within it."""
        return self._template.tail.rstrip().endswith(OPENING)

    def ends(self, text: str) -> Sequence[int]:
        """See `Tokenizer.ends`."""
        offsets = self._plain.encode(_sound(text), add_special_tokens=False).offsets
        return list(itertools.accumulate((end for _, end in offsets), max))

    def count(self, text: str) -> int:
        """See `Tokenizer.count`."""
        return len(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """Ids of `text` alone, no control token among them."""
        return list(self._plain.encode(_sound(text), add_special_tokens=False).ids)

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of ids; bytes that are no UTF-8 become replacement characters."""
        return str(self._marked.decode(list(ids), skip_special_tokens=skip_special))

    def chat(self, prompt: Prompt) -> list[int]:
        """The ids of one user turn under the chat template, ready to be answered.

        Raises:
            SetupError: there is no chat template.
        """
        return list(itertools.chain.from_iterable(self.chat_parts(prompt)))

    def chat_parts(self, prompt: Prompt) -> list[list[int]]:
        """`chat` in parts: the template's head with the first segment, the others, the template's tail.

        One segment is one part. The first `prompt.shared` parts are the shared ones. Turns before this one, or a
        prefill, make one part of all; their texts must not hold control tokens.
        """
        if prompt.history or prompt.prefill:
            told = self._template.conversation([*prompt.history, ("user", prompt.text)])
            return [self._marked_ids(told + prompt.prefill)]
        if len(prompt.segments) == 1:
            return [self._whole(self._template.content(prompt.text))]
        first, *others = (self.encode(segment) for segment in prompt.segments)
        return [[*self._head, *first], *others, self._tail]

    def _whole(self, content: str) -> list[int]:
        head, tail = self._template.head, self._template.tail
        if not any(token in content for token in self.special_tokens):
            return self._marked_ids(head + _sound(content) + tail)
        before, head_rest = self._split_at_control(head, last=True)
        tail_start, behind = self._split_at_control(tail, last=False)
        return self._marked_ids(before) + self.encode(head_rest + content + tail_start) + self._marked_ids(behind)

    def _split_at_control(self, text: str, *, last: bool) -> tuple[str, str]:
        pattern = "|".join(re.escape(token) for token in sorted(self.special_tokens, key=len, reverse=True))
        found = list(re.finditer(pattern, text)) if pattern else []
        if not found:
            return ("", text) if last else (text, "")
        cut = found[-1].end() if last else found[0].start()
        return text[:cut], text[cut:]

    @cached_property
    def _head(self) -> list[int]:
        return self._marked_ids(self._template.head)

    @cached_property
    def _tail(self) -> list[int]:
        return self._marked_ids(self._template.tail)

    def _marked_ids(self, text: str) -> list[int]:
        return list(self._marked.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _marked(self) -> tokenizers.Tokenizer:
        return self._load(self._settings)

    @cached_property
    def _template(self) -> ChatTemplate:
        if self._template_source is None:
            raise SetupError(f"{self.name} has no chat template: take an instruction-tuned model")
        named = {kind: _content(self._config.get(kind)) for kind in _NAMED_TOKENS}
        return ChatTemplate(self._template_source, {kind: token for kind, token in named.items() if token})

    @cached_property
    def _template_source(self) -> str | None:
        beside = self._folder / "chat_template.jinja"
        if beside.is_file():
            return beside.read_text(encoding="utf-8")
        source = self._config.get("chat_template")
        if isinstance(source, list):  # several by name
            source = next((entry["template"] for entry in source if entry.get("name") == "default"), None)
        return source

    def _load(self, settings: dict[str, Any]) -> tokenizers.Tokenizer:
        from tokenizers import Tokenizer

        try:
            return Tokenizer.from_str(json.dumps(settings))
        except Exception as error:  # the library raises bare Exception for any fault of the file
            raise SetupError(f"{self._folder / FILE_NAME} is no tokenizer: {_line(error)}") from error


def load_tokenizer(name: str) -> HubTokenizer:
    """The tokenizer of a model that `pull` knows, a folder, a tokenizer.json, or a hub id.

    From the hub only the tokenizer's files are fetched.

    Raises:
        SetupError: there is none.
    """
    path = user_path(name)
    if name not in WHEELS and path.exists():
        return HubTokenizer(path / FILE_NAME if path.is_dir() else path, name=name)
    if name not in WHEELS and not HUB_ID.fullmatch(name):
        raise SetupError(f"there is no tokenizer at {name}: give a folder, a tokenizer.json or a hub id")
    return HubTokenizer(pull_tokenizer(name) / FILE_NAME, name=name)


def _as_data(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings for plain text: every control token is one that can be switched off, and offsets
    are not trimmed of white space (which is the post-processor's doing)."""
    added = [{**token, "special": _is_control(token)} for token in settings.get("added_tokens", ())]
    return {**settings, "added_tokens": added, "post_processor": None, "truncation": None, "padding": None}


def _is_control(added: dict[str, Any]) -> bool:
    return bool(added.get("special")) or bool(_LOOKS_LIKE_CONTROL.fullmatch(added["content"]))


def _sound(text: str) -> str:
    """Lone surrogates as replacement characters, one for one: the library takes no others."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


def _content(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _mapping(text: str) -> dict[str, Any]:
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        raise ValueError("it is no JSON object")
    return loaded


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return _mapping(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _line(error: Exception) -> str:
    return getattr(error, "strerror", None) or (str(error).strip() or type(error).__name__).splitlines()[0]
