"""What the server costs a request that it passes on: requests per second beside the endpoint itself, and CPU.

Both are asked the same by the same aiohttp client. At an endpoint that takes 100 ms the ratio of requests per second at
64 at once is what clients feel; at an instant one the server process' CPU seconds are divided by the requests. Rounds
alternate; the ratio is the median of pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time

import aiohttp
import psutil

from bench_turns import ENDPOINT

BODY = {"model": "fake", "messages": [{"role": "user", "content": "What is there? " * 20}], "max_tokens": 16}


async def rate(url: str, requests: int, at_once: int) -> float:
    """Requests per second."""
    places = asyncio.Semaphore(at_once)
    connector = aiohttp.TCPConnector(limit=at_once)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> None:
            async with places, session.post(f"{url}/chat/completions", json=BODY) as reply:
                assert reply.status == 200, await reply.text()
                await reply.read()

        await one()
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(requests)))
        return requests / (time.perf_counter() - began)


def endpoint(delay: float, behaviour: str = "keep") -> tuple[subprocess.Popen[str], str]:
    """An endpoint that takes so many seconds."""
    command = [sys.executable, str(ENDPOINT), "--behaviour", behaviour, "--delay", str(delay)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def server(folder: str, *options: str) -> tuple[subprocess.Popen[str], str]:
    """`memagent serve` with its data in `folder`, and the address of its API."""
    command = [sys.executable, "-m", "memagent", "serve", "--port", "0", *options]
    environment = {**os.environ, "XDG_DATA_HOME": folder, "OPENAI_API_KEY": "none", "COLUMNS": "200"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("serving "):
            return process, next(word for word in line.replace(",", " ").split() if word.startswith("http"))
    raise SystemExit("the server did not start")


def fronting(url: str, folder: str) -> tuple[subprocess.Popen[str], str]:
    """Our server in front of an endpoint."""
    return server(folder, "--model", "fake", "--base-url", url)


def compared(delay: float, requests: int, at_once: int, rounds: int) -> tuple[float, float]:
    """The median ratio of requests per second, through us by directly; and milliseconds of our CPU a request."""
    with tempfile.TemporaryDirectory() as folder:
        behind, direct = endpoint(delay)
        before, through = fronting(direct, folder)
        try:
            ratios, used = [], []
            for _ in range(rounds):
                plain = asyncio.run(rate(direct, requests, at_once))
                began = sum(psutil.Process(before.pid).cpu_times()[:2])
                ours = asyncio.run(rate(through, requests, at_once))
                used.append(1000 * (sum(psutil.Process(before.pid).cpu_times()[:2]) - began) / requests)
                ratios.append(ours / plain)
        finally:
            for process in (before, behind):
                process.terminate()
                process.wait()
    return statistics.median(ratios), statistics.median(used)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ratio, _ = compared(0.1, given.requests, 64, given.rounds)
    print(f"requests/s at an endpoint of 100 ms, 64 at once, through the server / directly: {ratio:.2f}")
    _, used = compared(0.0, given.requests, 64, given.rounds)
    print(f"CPU of the server at an instant endpoint: {used:.2f} ms a request")


if __name__ == "__main__":
    main()
