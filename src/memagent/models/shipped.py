"""The reader in the box: the adapter that `local` reads with, made by `make reader` (docs/reader.md).

`local:smollm2-135m` is the same model without it.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "reader"


def shipped() -> Path | None:
    """The adapter's folder; None in a package without it."""
    return FOLDER if (FOLDER / "adapter_model.safetensors").is_file() else None
