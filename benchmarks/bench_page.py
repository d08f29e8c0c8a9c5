"""The page at a long reading, in Chromium: how long it takes to open it, and to step to the next chunk.

The reading is made by rules (every fiftieth chunk changes the memory); server and browser are real. A step is measured
in the page, from the key to the frame in which memory, place and the chunk's text are new.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench_serving import endpoint, fronting
from memagent import Reader, Settings, open_document
from memagent.models import Request, ScriptedModel
from memagent.models.scripted import tagged
from memagent.reading import Journal

EVERY = 50
WORDS = 300
STEP = """async (key) => {
  const place = document.querySelector('.place').innerText;
  const source = document.querySelector('pre.source')?.innerText;
  const began = performance.now();
  window.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  const fresh = () => document.querySelector('.place').innerText !== place
    && document.querySelector('pre.source')?.innerText !== source;
  while (!fresh()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


def says(request: Request) -> str:
    """Add the fact of a section that has one; answer with a word."""
    section = tagged(request.prompt.text, "section")
    if section is None:
        return "\\boxed{gold}"
    fact = section.find("Fact ")
    return f"Add: {section[fact:].splitlines()[0]}" if fact >= 0 else "Keep"


def book(folder: Path, chunks: int) -> Path:
    """A file of so many chunks, nearly."""
    path = folder / "book.txt"
    with path.open("w", encoding="utf-8") as file:
        for number in range(chunks):
            fact = f"Fact {number} is gold.\n" if number % EVERY == 0 else ""
            file.write(fact + " ".join(f"word{number}x{at}" for at in range(WORDS)) + ".\n\n")
    return path


async def read(path: Path) -> int:
    """Read it into the journal; its chunks."""
    with contextlib.closing(Journal.default()) as journal:
        settings = Settings(protocol="gated", chunk_tokens=2 * WORDS + 20, memory_tokens=2000)
        reader = Reader(ScriptedModel(says, window=8192, records=False), settings, journal=journal)
        return (await reader.read(open_document(str(path)), "Which facts are gold?")).coverage.chunks


def opened(page: Page, root: str) -> float:
    """Seconds until the reading's answer and strip stand there."""
    page.goto(root)
    page.wait_for_selector(".library a")
    took: float = page.evaluate(
        """async () => {
          const began = performance.now();
          document.querySelector('.library a').click();
          while (!document.querySelector('.answer') || !document.querySelector('canvas.strip')
                 || !document.querySelector('pre.source')) await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )
    return took / 1000


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=3500)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        os.environ["XDG_DATA_HOME"] = folder
        chunks = asyncio.run(read(book(Path(folder), given.chunks)))
        behind, direct = endpoint(0.0)
        held.callback(behind.terminate)
        before, through = fronting(direct, folder)
        held.callback(before.terminate)
        driver = held.enter_context(sync_playwright())
        chromium = next(path for name in ("chromium", "google-chrome") if (path := shutil.which(name)))
        page = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        times = sorted(opened(page, through.removesuffix("/v1")) for _ in range(5))
        print(f"open a reading of {chunks} chunks: median {times[2]:.2f} s, worst {times[-1]:.2f} s")
        keys = ["ArrowLeft", "ArrowUp"] * (given.steps // 2)
        steps = sorted(page.evaluate(STEP, key) for key in keys[: min(len(keys), chunks // EVERY)])
        print(f"a step: median {statistics.median(steps):.0f} ms, 95% below {steps[int(0.95 * len(steps))]:.0f} ms")


if __name__ == "__main__":
    main()
