"""Other people's clients against `memagent serve`, each asking one document for another needle in it.

The document is the language reference that Python carries (about 113,000 tokens), the needles are RULER's. Clients that
are not installed are passed over. What it shows is in docs/serving.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pydoc_data.topics
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench_serving import server

NEEDLES = {
    "sdk": ("copper-lantern", "4817362"),
    "curl": ("marble-kitchen", "9052741"),
    "llm": ("silver-orchard", "3390184"),
    "inspect": ("gentle-harbour", "7261508"),
    "mcp": ("crimson-ladder", "1648293"),
}
INSPECT_TASK = """
from pathlib import Path
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

@task
def needle():
    return Task(dataset=[Sample(input=Path({prompt!r}).read_text(), target={target!r})], scorer=includes())
"""
LLM_MODEL = """
- model_id: memagent
  model_name: memagent
  api_base: {url}
"""


def question(client: str) -> str:
    """What a client asks."""
    return f"What is the special magic number for {NEEDLES[client][0]} mentioned in the provided text?"


def document() -> str:
    """The language reference with all needles, spread evenly."""
    topics = [topic for _, topic in sorted(pydoc_data.topics.topics.items())]
    for number, (word, value) in enumerate(NEEDLES.values()):
        place = (number + 1) * len(topics) // (len(NEEDLES) + 1)
        topics.insert(place, f"One of the special magic numbers for {word} is: {value}.")
    return "\n\n".join(topics) + "\n"


def by_sdk(url: str, path: Path) -> str:
    """The official SDK, with the document in the message."""
    from openai import OpenAI

    message = f"{path.read_text(encoding='utf-8')}\n\n{question('sdk')}"
    with OpenAI(base_url=url, api_key="none", timeout=3600, max_retries=0) as client:
        reply = client.chat.completions.create(model="memagent", messages=[{"role": "user", "content": message}])
    return reply.choices[0].message.content or ""


def by_curl(url: str, path: Path) -> str:
    """curl: the file is uploaded, then asked."""
    stored = json.loads(_said("curl", "-sS", f"{url}/files", "-F", f"file=@{path}", "-F", "purpose=user_data"))
    asked = {"role": "user", "content": question("curl")}
    body = json.dumps({"model": "memagent", "messages": [asked], "file_ids": [stored["id"]]})
    kind = "Content-Type: application/json"
    reply = json.loads(_said("curl", "-sS", f"{url}/chat/completions", "-H", kind, "-d", body))
    return str(reply["choices"][0]["message"]["content"])


def by_llm(url: str, path: Path) -> str:
    """`llm`, with the document as a fragment."""
    folder = path.parent / "llm"
    folder.mkdir()
    (folder / "extra-openai-models.yaml").write_text(LLM_MODEL.format(url=url), encoding="utf-8")
    given = {"LLM_USER_PATH": str(folder), "OPENAI_API_KEY": "none"}
    return _said("llm", "-m", "memagent", "--no-stream", "-f", str(path), question("llm"), environment=given)


def by_inspect(url: str, path: Path) -> str:
    """Inspect's openai-api provider; the target is shown where its scorer found it."""
    prompt, task = path.parent / "prompt.txt", path.parent / "needle_task.py"
    prompt.write_text(f"{path.read_text(encoding='utf-8')}\n\n{question('inspect')}", encoding="utf-8")
    target = NEEDLES["inspect"][1]
    task.write_text(INSPECT_TASK.format(prompt=str(prompt), target=target), encoding="utf-8")
    given = {"MEMAGENT_BASE_URL": url, "MEMAGENT_API_KEY": "none", "INSPECT_DISPLAY": "plain"}
    logs = path.parent / "logs"
    command = ["inspect", "eval", task.name, "--model", "openai-api/memagent/memagent", "--log-dir", str(logs)]
    told = _said(*command, environment=given, folder=path.parent)
    return target if "accuracy 1.000" in " ".join(told.split()) else told[-400:]


def by_mcp(url: str, path: Path) -> str:
    """The MCP SDK's own client over stdio; the server reads the file."""
    return asyncio.run(_asked_by_mcp(path))


async def _asked_by_mcp(path: Path) -> str:
    from mcp import Client, StdioServerParameters, stdio_client

    server = StdioServerParameters(command=sys.executable, args=["-m", "memagent", "mcp"], env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
        found = await client.call_tool("ask", {"problem": question("mcp"), "files": [str(path)]})
    return str(found.structured_content)


CLIENTS: dict[str, tuple[str, Callable[[str, Path], str]]] = {
    "sdk": ("", by_sdk),
    "curl": ("curl", by_curl),
    "llm": ("llm", by_llm),
    "inspect": ("inspect", by_inspect),
    "mcp": ("", by_mcp),
}


def _said(*command: str, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    given = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=given, cwd=folder, check=False)
    if done.returncode:
        return f"{command[0]} failed: {(done.stderr or done.stdout)[-600:]}"
    return done.stdout


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=sorted(CLIENTS), action="append", help="one client (repeatable)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        os.environ["XDG_DATA_HOME"] = folder
        path = Path(folder) / "reference.txt"
        path.write_text(document(), encoding="utf-8")
        process, url = server(folder)
        held.callback(process.wait)
        held.callback(process.terminate)
        for name in given.only or CLIENTS:
            needs, ask = CLIENTS[name]
            if needs and shutil.which(needs) is None:
                print(f"{name}: not installed", flush=True)
                continue
            began = time.perf_counter()
            said = ask(url, path)
            right = "right" if NEEDLES[name][1] in said else f"WRONG: {said.strip()[-300:]}"
            print(f"{name}: {right}, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
