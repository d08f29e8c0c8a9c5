"""Several pieces of work at once, of which none goes on alone when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


async def together(work: Sequence[Awaitable[Result]]) -> list[Result]:
    """Like `asyncio.gather`, but when one fails the others are cancelled and waited for."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
