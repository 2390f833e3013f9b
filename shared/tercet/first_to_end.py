"""Runs several things until the first of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

_CANCEL_AGAIN_S = 0.5


async def until_first_ends(
    running: Sequence[Coroutine[Any, Any, None]],
    *,
    consequence: type[Exception] | tuple[type[Exception], ...] = (),
    insist: bool = False,
) -> None:
    """Run all until one ends; the others are cancelled, and waited for. Raises what was raised.

    Args:
        consequence: errors that may follow from another one: raised only if there is no other.
        insist: cancel again and again, for what may swallow a cancellation; not for what cleans up for long.
    If cancelled, so are all.
    """
    tasks = [asyncio.ensure_future(one) for one in running]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks, insist)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    errors.sort(key=lambda error: isinstance(error, consequence))
    if errors:
        raise errors[0]


async def _end(tasks: Sequence[asyncio.Future[None]], insist: bool) -> None:
    left = set(tasks)
    for task in left:
        task.cancel()
    while left:
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S if insist else None)
        for task in left:
            task.cancel()
