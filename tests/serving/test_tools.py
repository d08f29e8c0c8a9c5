"""The SDK's own client: over stdio against the command, and in memory against the tools."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from tests.reading.oracle import GATED, document_text, oracle

from memagent.models import ScriptedModel
from memagent.reading import Journal
from memagent.serving.tools import make_server

FACTS = [f"Key {n} is value{n}." for n in range(40) if n % 7 == 3]


@pytest.fixture
def server(tmp_path):
    def make(may_open_files=True):
        model = ScriptedModel(oracle)
        return make_server(model, GATED, Journal(tmp_path / "journal"), options={}, may_open_files=may_open_files)

    return make


def told(result):
    assert not result.is_error, result
    return json.loads(result.content[0].text) if result.structured_content is None else result.structured_content


async def test_an_agent_asks_a_text_and_hears_of_progress(server):
    heard = []

    async def hear(progress, total, message):
        heard.append((progress, total, message))

    async with Client(server()) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        asked = {"problem": "Which keys?", "text": document_text(40)}
        found = told(await client.call_tool("ask", asked, progress_callback=hear))
    assert names == ["ask", "list_readings", "open_reading"]
    assert found["answer"] == " ".join(FACTS) and found["evidence"] and found["coverage"]["failed"] == 0
    assert heard and heard == sorted(heard, key=lambda one: one[0]) and any(FACTS[0] in (one[2] or "") for one in heard)


async def test_readings_are_listed_and_opened(server):
    async with Client(server()) as client:
        found = told(await client.call_tool("ask", {"problem": "Which keys?", "text": document_text(40)}))
        listed = told(await client.call_tool("list_readings", {}))
        listed = listed["result"] if isinstance(listed, dict) else listed
        opened = told(await client.call_tool("open_reading", {"reading_id": found["reading_id"][:6]}))
    assert [one["reading_id"] for one in listed] == [found["reading_id"]]
    assert opened["changes"][-1]["memory"] == found["memory"] and opened["chunks"] == found["coverage"]["chunks"]


async def test_files_can_be_named_only_where_the_agent_is_on_this_machine(server, tmp_path):
    path = tmp_path / "book.txt"
    path.write_text(document_text(40))
    async with Client(server()) as client:
        found = told(await client.call_tool("ask", {"problem": "Which keys?", "files": [str(path)]}))
        assert found["evidence"][0]["source"] == "book.txt"
    async with Client(server(may_open_files=False)) as client:
        (ask, *_) = (await client.list_tools()).tools
        assert "files" not in ask.input_schema["properties"]


@pytest.mark.parametrize(
    ("tool", "asked", "said"),
    [
        ("ask", {"problem": "Why?", "files": ["/nowhere.txt"]}, "nowhere.txt"),
        ("ask", {"problem": "Why?"}, "one of the two"),
        ("ask", {"problem": " ", "text": "Some text."}, "problem is empty"),
        ("open_reading", {"reading_id": "zzz"}, "no reading starts"),
    ],
)
async def test_faults_are_one_line(server, tool, asked, said):
    async with Client(server()) as client:
        try:
            result = await client.call_tool(tool, asked)
        except MCPError as error:
            assert said in str(error)
            return
    assert result.is_error and said in result.content[0].text and "Traceback" not in result.content[0].text


async def test_the_command_speaks_over_stdio(endpoint, tmp_path):
    from tests.serving.conftest import as_request

    endpoint.reply = lambda body: oracle(as_request(body))
    (tmp_path / "book.txt").write_text(document_text(40))
    options = ["--model", "fake", "--base-url", endpoint.url, "--protocol", "gated", "--chunk-tokens", "400"]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "OPENAI_API_KEY": "none"}
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "memagent", "mcp", *options], env=environment, cwd=tmp_path
    )
    async with Client(stdio_client(command)) as client:
        found = told(await client.call_tool("ask", {"problem": "Which keys?", "files": ["book.txt"]}))
    assert found["answer"] == " ".join(FACTS)


async def test_over_http_texts_can_be_asked(endpoint, tmp_path):
    from mcp.client.streamable_http import streamable_http_client
    from tests.serving.conftest import as_request

    endpoint.reply = lambda body: oracle(as_request(body))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--model", "fake", "--base-url", endpoint.url, "--protocol", "gated", "--chunk-tokens", "400"]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "OPENAI_API_KEY": "none"}
    command = [sys.executable, "-m", "memagent", "mcp", "--http", "--port", str(port), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            for _ in range(400):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.1):
                    break
                await asyncio.sleep(0.05)
            async with Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp")) as client:
                (ask, *_) = (await client.list_tools()).tools
                assert "files" not in ask.input_schema["properties"]
                found = told(await client.call_tool("ask", {"problem": "Which keys?", "text": document_text(40)}))
            assert found["answer"] == " ".join(FACTS)
        finally:
            process.kill()
