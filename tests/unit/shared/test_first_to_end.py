"""Several things until the first of them ends."""

from __future__ import annotations

import asyncio

import pytest

from tercet.errors import LinkDownError, SpecError
from tercet.first_to_end import until_first_ends


async def test_the_first_to_end_ends_all_and_waits_for_their_clean_up() -> None:
    events: list[str] = []

    async def quick() -> None:
        await asyncio.sleep(0)

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.7)
            events.append("cleaned up")

    await until_first_ends([slow(), quick(), slow()])
    assert events == ["cleaned up", "cleaned up"]


async def test_a_cancellation_ends_all() -> None:
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    running = asyncio.create_task(until_first_ends([wait(), wait()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [True, True]


async def test_an_error_that_is_no_consequence_is_the_one_that_is_raised() -> None:
    both = asyncio.Event()

    async def fail(error: Exception) -> None:
        await both.wait()
        raise error

    async def release() -> None:
        await asyncio.sleep(0)
        both.set()
        await asyncio.Event().wait()

    with pytest.raises(SpecError):
        await until_first_ends(
            [fail(LinkDownError("lost")), release(), fail(SpecError("wrong"))], consequence=LinkDownError
        )


async def test_what_swallows_a_cancellation_is_cancelled_again_if_so_asked() -> None:
    swallowed: list[bool] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(True)
        await asyncio.Event().wait()

    async def quick() -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await until_first_ends([stubborn(), quick()], insist=True)
    assert swallowed
