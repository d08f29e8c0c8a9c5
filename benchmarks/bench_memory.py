"""Peak memory of reading 1 MB and 1 GB of text with the scripted model, each in a process of its own.

The gate is fixed by a seeded schedule: the memory changes at 2% of chunks. The journal is on.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from memagent import Journal, Reader, Settings, open_document
from memagent.models import Request, ScriptedModel


def write_text(path: Path, megabytes: int) -> None:
    """A text file of that size, in which no two lines are alike."""
    with path.open("w", encoding="utf-8") as file:
        written = number = 0
        while written < megabytes * 1_000_000:
            parcel, harbour = number * 7919 % 100_003, number % 97
            line = f"Line {number} of a long text tells that parcel {parcel} went to harbour {harbour}.\n"
            written += file.write(line)
            number += 1


def scheduled(request: Request) -> str:
    """Keep, but for 2% of prompts."""
    changes = zlib.crc32(request.prompt.text.encode()) % 50 == 0
    return "Write: parcels went to harbours" if changes and request.one_token else "Keep"


def read(path: Path) -> dict[str, float]:
    """Read one file; megabytes at the peak, seconds and chunks."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = ScriptedModel(scheduled, records=False)
        settings = Settings(protocol="gated", chunk_tokens=5000, memory_tokens=1024, read_ahead=4)
        reading = Reader(model, settings, journal=Journal(Path(folder))).read_sync(open_document(path), "Where to?")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.perf_counter() - began
    return {
        "peak_mb": peak,
        "seconds": seconds,
        "chunks": reading.coverage.chunks,
        "read": reading.coverage.read,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="read this one file and print JSON")
    parser.add_argument("--large", type=int, default=1000, help="megabytes of the large file")
    given = parser.parse_args()
    if given.file:
        print(json.dumps(read(given.file)))
        return
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in (1, given.large):
            path = Path(folder) / f"{megabytes}.txt"
            write_text(path, megabytes)
            command = [sys.executable, __file__, "--file", str(path)]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            peaks[megabytes] = found["peak_mb"]
            print(
                f"{megabytes} MB: peak {found['peak_mb']:.0f} MB, {found['read']:,.0f} of "
                f"{found['chunks']:,.0f} chunks read in {found['seconds']:.0f} s"
            )
    print(f"peak at {given.large} MB less peak at 1 MB: {peaks[given.large] - peaks[1]:.0f} MB")


if __name__ == "__main__":
    main()
