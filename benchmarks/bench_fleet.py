"""One long document over three endpoints that take 100 ms a call, beside the published loop on one of them.

The published loop is the `paper` protocol, one call after the other. The fleet reads with the `gated` protocol and
reads ahead; its gate is fixed by a seeded schedule that changes the memory at about `--rate` of chunks. Both read one
document in chunks of the same size. Endpoints are processes of their own; what is remembered means nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time

from bench_serving import endpoint
from memagent import Document, Reader, Settings, open_document
from memagent.models import Model, ModelOptions, open_model
from memagent.models.scheduled import ScheduledGate
from memagent.tasks.haystacks import language_reference

DELAY = 0.1


def document_of(tokens: int) -> Document:
    """The language reference, again and again, of so many tokens as the fake endpoints' clients estimate them."""
    whole = language_reference()
    return open_document(text=(whole * (1 + 4 * tokens // len(whole)))[: 4 * tokens], name="language reference")


async def seconds(
    urls: list[str], document: Document, settings: Settings, at_once: int, rate: float = 0.0, seed: int = 0
) -> float:
    """How long one reading takes over these endpoints."""
    options = ModelOptions(model="fake", base_url=",".join(urls), concurrency=at_once, window=32_768)
    opened = await open_model(options)
    model: Model = ScheduledGate(opened, rate=rate, seed=seed) if settings.protocol == "gated" else opened
    began = time.perf_counter()
    reading = await Reader(model, settings).read(document, "What is the with statement used for?")
    taken = time.perf_counter() - began
    tally = reading.tally
    print(
        f"  {settings.protocol} over {len(urls)}: {taken:.1f} s, {reading.coverage.chunks} chunks, {tally.keep} kept, "
        f"{tally.write} written, {tally.vain} calls in vain",
        flush=True,
    )
    await opened.aclose()
    return taken


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=524_288)
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--at-once", type=int, default=16, help="calls at each endpoint")
    parser.add_argument("--rate", type=float, default=0.01, help="share of chunks that change the memory")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule")
    given = parser.parse_args()
    document = document_of(given.tokens)
    sizes = {"chunk_tokens": given.chunk, "memory_tokens": 256}
    with contextlib.ExitStack() as held:
        urls = []
        for _ in range(3):
            process, url = endpoint(DELAY, "chain")
            held.callback(process.terminate)
            urls.append(url)
        ahead = Settings(protocol="gated", read_ahead=3 * given.at_once, **sizes)
        fleet = asyncio.run(seconds(urls, document, ahead, given.at_once, given.rate, given.seed))
        one = asyncio.run(seconds(urls[:1], document, Settings(protocol="paper", **sizes), given.at_once))
    print(f"seconds of the published loop on one / of the fleet of three: {one / fleet:.1f}")


if __name__ == "__main__":
    main()
