"""A model's chat template: what stands before and behind one user turn. It does not know tokens."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from memagent.errors import OptionError, SetupError
from memagent.extras import extra

# Letters only, so that no template trims, escapes or splits it.
_PLACEHOLDER = "QxPlaceholderOfTheUserTurnZv"


class ChatTemplate:
    """A Jinja template, rendered in a sandbox with the settings of transformers.

    `head` and `tail` are what stands around the user's turn when it is the only one.

    Raises:
        SetupError: jinja2 is missing, or the template takes no single user turn.
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        with extra("local", "rendering a chat template"):
            import jinja2
            from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._tokens = dict(tokens)
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
        try:
            self._template = environment.from_string(source)
            self.head, placeholder, self.tail = self._render(_PLACEHOLDER).partition(_PLACEHOLDER)
        except jinja2.TemplateError as error:
            raise SetupError(f"the model's chat template takes no user turn alone: {error}") from error
        if not placeholder:
            raise SetupError("the model's chat template does not show the user's turn")

    def content(self, text: str) -> str:
        """`text` as the template shows it: some trim it."""
        shown = self._render(text)
        if shown.startswith(self.head) and shown.endswith(self.tail):
            return shown[len(self.head) : len(shown) - len(self.tail)]
        return text

    def conversation(self, turns: Sequence[tuple[str, str]]) -> str:
        """All turns, as roles and texts, up to where the next one of the assistant begins.

        Raises:
            OptionError: the template does not take them.
        """
        import jinja2

        try:
            return self._shown(turns)
        except jinja2.TemplateError as error:
            raise OptionError(f"the model's chat template does not take these turns: {error}") from error

    def _render(self, text: str) -> str:
        return self._shown([("user", text)])

    def _shown(self, turns: Sequence[tuple[str, str]]) -> str:
        messages = [{"role": role, "content": text} for role, text in turns]
        return self._template.render(messages=messages, add_generation_prompt=True, **self._tokens)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)
