"""Frames computed together, in real threads with a real network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.tiny_model import INPUT, OUTPUT, tiny_deployment, tiny_input
from tercet.codecs.codec import Float32Array
from tercet.errors import DeadlineError, OverloadedError, TensorContractError, UnavailableError
from tercet.inference.segment_chain import SegmentChain
from tercet.inference.shared_run import Tensors, run_key
from tercet.models.store import Store
from tercet_edge.batch_queue import BatchQueue, OverloadPolicy
from tercet_edge.micro_batch import Computed, MicroBatcher, Work


@pytest.fixture
def chain(tmp_path: Path) -> SegmentChain:
    store = Store(tmp_path)
    deployment = tiny_deployment(store)
    return SegmentChain(store.manifest(deployment.model), store)


@asynccontextmanager
async def batching(
    max_queued: int = 64, max_batch: int = 8, policy: OverloadPolicy = "refuse-newest"
) -> AsyncIterator[MicroBatcher]:
    queue = BatchQueue[Work](max_queued=max_queued, max_batch=max_batch, max_wait_s=0.0, policy=policy)
    with ThreadPoolExecutor(max_workers=1) as executor:
        batcher = MicroBatcher(executor, queue)
        async with batcher.running():
            yield batcher


async def compute(batcher: MicroBatcher, chain: SegmentChain, seed: int, deadline_s: float = inf) -> Computed:
    tensors = {INPUT: tiny_input(seed)}
    key = run_key(chain, tensors, 0, 3)
    return await batcher.compute(chain, 0, 3, lambda: tensors, key=key, deadline_s=deadline_s)


def alone(chain: SegmentChain, seed: int) -> Float32Array:
    return np.asarray(chain.run({INPUT: tiny_input(seed)}, 0, 3)[OUTPUT], np.float32)


@asynccontextmanager
async def busy(batcher: MicroBatcher, chain: SegmentChain) -> AsyncIterator[None]:
    """The only compute thread is held while entered."""
    tensors = {INPUT: tiny_input(99)}

    def hold() -> Tensors:
        while not released.is_set():
            time.sleep(0.001)
        return tensors

    released = asyncio.Event()
    task = asyncio.create_task(batcher.compute(chain, 0, 3, hold, key=None, deadline_s=inf))
    await asyncio.sleep(0.02)
    try:
        yield
    finally:
        released.set()
        await task


async def test_frames_that_wait_share_a_run_and_get_their_own_answers(chain: SegmentChain) -> None:
    async with batching(max_batch=8) as batcher:
        async with busy(batcher, chain):
            tasks = [asyncio.create_task(compute(batcher, chain, seed)) for seed in range(12)]
            await asyncio.sleep(0.01)
        found = await asyncio.gather(*tasks)
    assert [one.batch_size for one in found] == [8] * 8 + [4] * 4
    for seed, one in enumerate(found):
        assert np.asarray(one.outputs[OUTPUT]) == pytest.approx(alone(chain, seed), abs=1e-5)
        assert one.queue_us > 0


async def test_a_frame_that_cannot_be_decoded_costs_only_itself(chain: SegmentChain) -> None:
    def broken() -> Tensors:
        raise TensorContractError("not a tensor")

    async with batching() as batcher:
        async with busy(batcher, chain):
            key = run_key(chain, {INPUT: tiny_input(0)}, 0, 3)
            bad = asyncio.create_task(batcher.compute(chain, 0, 3, broken, key=key, deadline_s=inf))
            good = [asyncio.create_task(compute(batcher, chain, seed)) for seed in range(3)]
            await asyncio.sleep(0.01)
        with pytest.raises(TensorContractError):
            await bad
        for seed, task in enumerate(good):
            assert np.asarray((await task).outputs[OUTPUT]) == pytest.approx(alone(chain, seed), abs=1e-5)


async def test_a_frame_whose_deadline_passes_in_the_queue_is_refused(chain: SegmentChain) -> None:
    async with batching() as batcher:
        async with busy(batcher, chain):
            task = asyncio.create_task(compute(batcher, chain, 1, deadline_s=time.monotonic() + 0.02))
            await asyncio.sleep(0.05)
        with pytest.raises(DeadlineError, match="in the queue"):
            await task


async def test_the_oldest_is_dropped_for_the_newest_if_so_asked(chain: SegmentChain) -> None:
    async with batching(max_queued=2, policy="drop-oldest") as batcher:
        async with busy(batcher, chain):
            tasks = [asyncio.create_task(compute(batcher, chain, seed)) for seed in range(3)]
            await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError, match="newer"):
            await tasks[0]
        assert (await tasks[1]).batch_size == (await tasks[2]).batch_size == 2


async def test_a_cancelled_frame_is_not_computed_and_the_next_one_is(chain: SegmentChain) -> None:
    async with batching() as batcher:
        async with busy(batcher, chain):
            decoded: list[int] = []

            def prepare() -> Tensors:
                decoded.append(1)
                return {INPUT: tiny_input(1)}

            task = asyncio.create_task(batcher.compute(chain, 0, 3, prepare, key=None, deadline_s=inf))
            await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert (await compute(batcher, chain, 2)).batch_size == 1
        assert not decoded


async def test_frames_that_wait_at_shutdown_are_refused(chain: SegmentChain) -> None:
    def slow() -> Tensors:
        time.sleep(0.1)
        return {INPUT: tiny_input(1)}

    async with batching() as batcher:
        running = asyncio.create_task(batcher.compute(chain, 0, 3, slow, key=None, deadline_s=inf))
        await asyncio.sleep(0.02)
        waiting = asyncio.create_task(compute(batcher, chain, 1))
        await asyncio.sleep(0.01)
    for task in (running, waiting):
        with pytest.raises(OverloadedError, match="shutting down"):
            await task


class NoThreads(ThreadPoolExecutor):
    """Cannot start a thread for the first few runs, as on a machine that is out of them."""

    def __init__(self, failures: int) -> None:
        super().__init__(max_workers=1)
        self.failures = failures

    def submit(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        if self.failures:
            self.failures -= 1
            raise RuntimeError("can't start new thread")
        return super().submit(*args, **kwargs)


async def test_a_run_that_cannot_be_made_costs_its_own_frames_and_the_next_are_computed(
    chain: SegmentChain,
) -> None:
    queue = BatchQueue[Work](max_queued=8, max_batch=8, max_wait_s=0.0)
    with NoThreads(2) as executor:
        batcher = MicroBatcher(executor, queue)
        async with batcher.running():
            for _ in range(2):
                with pytest.raises(UnavailableError, match="new thread"):
                    await compute(batcher, chain, 0)
            computed = await compute(batcher, chain, 0)
    np.testing.assert_allclose(computed.outputs[OUTPUT], alone(chain, 0), rtol=1e-5)
    assert batcher.crashes == 2


async def test_a_run_that_hangs_keeps_no_frame_beyond_its_deadline(chain: SegmentChain) -> None:
    async with batching() as batcher, busy(batcher, chain):
        frames = [compute(batcher, chain, seed, time.monotonic() + 0.2) for seed in range(3)]
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*frames, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DeadlineError}
        assert batcher.longest_run_s > 0.2
