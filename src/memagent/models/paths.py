"""Paths as users write them. It does not know what lies there."""

from __future__ import annotations

from pathlib import Path

from memagent.errors import SetupError


def user_path(given: str | Path) -> Path:
    """`given` as a path, with `~` and `~name` written out.

    Raises:
        SetupError: there is no such user, or the home folder is unknown.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise SetupError(f"{given} names a home folder that there is not: write the path out") from None
