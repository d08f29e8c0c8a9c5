"""The documentation says what is so: its examples run, its commands exist, its links lead somewhere.

Every ```python block of README.md and docs/*.md is run, the blocks of a file in order and in one namespace,
in a folder that holds `book.txt`, with OPENAI_BASE_URL naming a live endpoint on this machine. Where a `print(…)`
ends in a comment, the comment is what it prints. A ```python no-run block (it needs weights or a network)
is only compiled, and what it imports must exist. Of commands in ```bash blocks, the options must exist.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
from tests.fake_endpoint import prompt_of

from memagent.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^\s*print\(.*\)  # (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")

FACT = "Old Mr Harrow left the house to his niece Clara."
FILLER = "The wind blew from the west on day {} and nobody in the village thought of money at all.\n\n"
BOOK = "".join(FILLER.format(day) + (FACT + "\n\n" if day == 70 else "") for day in range(1, 201))


def blocks(page, language):
    """Kind, code and first line of a page's blocks in `language`."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        kind, _, rest = found["kind"].partition(" ")
        if kind == language:
            yield rest, found["code"], text.count("\n", 0, found.start("code"))


def pages_with(language):
    return [pytest.param(page, id=page.name) for page in PAGES if any(blocks(page, language))]


def remembers_clara(body):
    """A model that notes the one fact of the book, in either protocol."""
    prompt = prompt_of(body)
    section, memory = (prompt.rpartition(f"</{tag}>")[0].rpartition(f"<{tag}>\n")[2] for tag in ("section", "memory"))
    if "<section>" not in prompt:
        return "\\boxed{Clara}" if "Clara" in memory else "\\boxed{not stated}"
    if 'Reply "Keep"' in prompt:
        return f"Add: {FACT}" if "Clara" in section else "Keep"
    return FACT if "Clara" in section + memory else "No previous memory"


@pytest.fixture
def desk(endpoint, monkeypatch, tmp_path):
    """Where a reader of the documentation sits: a folder with a book, a journal of its own, an endpoint."""
    endpoint.reply = remembers_clara
    (tmp_path / "book.txt").write_text(BOOK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    return tmp_path


@pytest.mark.parametrize("page", pages_with("python"))
def test_examples_run_and_print_what_they_say(page, desk, capsys):
    namespace = {"__name__": "__example__"}
    for rest, code, line in blocks(page, "python"):
        if rest == "no-run":
            continue
        assert rest == "", f"{page.name}:{line}: unknown mark {rest!r}"
        exec(compile("\n" * line + code, str(page), "exec"), namespace)
        printed = iter(capsys.readouterr().out.splitlines())
        for expected in PRINTED.findall(code):
            assert expected in printed, f"{page.name}:{line}: does not print {expected!r}"


@pytest.mark.parametrize("page", pages_with("python"))
def test_examples_that_are_not_run_compile_and_import_what_exists(page):
    for rest, code, line in blocks(page, "python"):
        if rest != "no-run":
            continue
        for node in ast.walk(ast.parse("\n" * line + code, str(page))):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.parametrize("page", pages_with("bash"))
def test_commands_and_their_options_exist(page):
    for _, code, line in blocks(page, "bash"):
        for text in code.replace("\\\n", " ").splitlines():
            words = shlex.split(text, comments=True)
            if "memagent" in words:
                where = f"{page.name}:{line}: {text}"
                check_command(words[words.index("memagent") + 1 :], where)


def check_command(words, where):
    command, context = cli, click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{where}: no command {words[0]!r}"
        command, words = found, words[1:]
    known = {name for parameter in command.get_params(context) for name in parameter.opts}
    given = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
    assert [name for name in given if name not in known] == [], where


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_to_files(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def modules_with_examples():
    source = ROOT / "src"
    for path in sorted(source.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(source).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", list(modules_with_examples()))
def test_docstrings_run(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed
