"""What an edge computes of durable frames, with a real journal, segments and batcher: bad frames harm no others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from support.fleets import open_tiny
from support.tiny_model import INPUT, tiny_boundary, tiny_deployment, tiny_input
from tercet.durable.bounds import Bounds
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.capture_time import CaptureStamp
from tercet.durable.journal import Arrival, Entry, Journal
from tercet.identifiers import NodeId
from tercet.models.store import Store
from tercet.plans import LinkCodecs, Plan
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame
from tercet_edge.batch_queue import BatchQueue
from tercet_edge.durable_compute import DurableCompute, stretches
from tercet_edge.micro_batch import MicroBatcher, Work

CAM = NodeId("cam-1")


@dataclass
class Bench:
    """An edge's parts, of which plan `first` gives it the first two segments."""

    folder: Path
    model: str
    journal: Journal
    compute: DurableCompute
    batcher: MicroBatcher

    async def take(self, *tensors: np.ndarray, plan: str = "first", boundary: int = 0) -> list[Entry]:
        clock = CaptureClock(self.folder)
        arrivals = []
        for number, tensor in enumerate(tensors, 1):
            header = pb.FrameHeader(
                model=self.model,
                plan=plan,
                boundary=boundary,
                node=CAM,
                sequence=number,
                delivery=pb.DELIVERY_CLASS_DURABLE,
            )
            arrivals.append(Arrival(CAM, number, Frame.encode(header, {INPUT: tensor}, "raw").seal(), clock.now()))
        await self.journal.take(arrivals)
        return await self.journal.pending(0, 1000, 1 << 24)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = Store(tmp_path / "store")
    deployment = tiny_deployment(store)
    plans = (
        Plan(id="first", device_until=0, edge_until=2),
        Plan(id="recode", device_until=0, edge_until=0, codecs=LinkCodecs(edge_cloud="fp16")),
        Plan(id="stream", device_until=0, edge_until=1, codecs=LinkCodecs(edge_cloud="delta:30+int8+zstd")),
    )
    model = open_tiny(deployment.model_copy(update={"plans": plans}), store, Tier.EDGE)
    batcher = MicroBatcher(
        ThreadPoolExecutor(max_workers=1), BatchQueue[Work](max_queued=4, max_batch=4, max_wait_s=0.002)
    )
    async with Journal.open(tmp_path / "journal.db", Bounds()) as journal, batcher.running():
        compute = DurableCompute({model.manifest.ref: model}, batcher, journal, max_queued=8)
        yield Bench(tmp_path, model.manifest.ref, journal, compute, batcher)


async def test_frames_go_on_computed_and_in_order(bench: Bench) -> None:
    entries = await bench.take(*(tiny_input(seed) for seed in range(10)))
    ready = await bench.compute.advance(entries)
    assert [one.entry for one in ready] == entries
    for seed, one in enumerate(ready):
        frame = Frame.open(one.sealed)
        assert frame.header.boundary == 2
        assert frame.header.sequence == seed + 1
        np.testing.assert_allclose(frame.decode()["squeezed"], tiny_boundary(tiny_input(seed), 2), atol=1e-5)
    assert bench.batcher.runs < bench.batcher.frames == 10


async def test_a_plan_that_only_codes_anew_is_coded_anew(bench: Bench) -> None:
    (ready,) = await bench.compute.advance(await bench.take(tiny_input(), plan="recode"))
    assert [tensor.codec for tensor in Frame.open(ready.sealed).header.tensors] == ["fp16"]


async def test_durable_frames_never_differ_from_each_other(bench: Bench) -> None:
    ready = await bench.compute.advance(await bench.take(tiny_input(0), tiny_input(0), plan="stream"))
    assert [Frame.open(one.sealed).header.tensors[0].codec for one in ready] == ["int8+zstd", "int8+zstd"]


async def test_a_frame_that_fails_every_time_is_tried_at_once_and_the_others_go_on(bench: Bench) -> None:
    entries = await bench.take(tiny_input(0), np.zeros((1, 3), np.float32), tiny_input(1))
    ready = await bench.compute.advance(entries)
    assert [one.entry for one in ready] == [entries[0], entries[2]]
    held = bench.journal.load()
    assert (held.frames, held.dead_letters) == (2, 1)


async def test_frames_without_a_place_in_the_batcher_wait_and_count_no_try(bench: Bench) -> None:
    """Eight may ask at once, the queue takes four."""
    entries = await bench.take(*(tiny_input(seed, rows=1 + seed % 3) for seed in range(24)))
    assert len(await bench.compute.advance(entries)) == 24
    assert bench.journal.load().dead_letters == 0
    assert {entry.tries for entry in await bench.journal.pending(0, 100, 1 << 24)} == {0}


def entry(position: int) -> Entry:
    return Entry(position, CAM, position, b"", CaptureStamp(0, 0, "boot"), 0, 0)


@pytest.mark.parametrize(
    ("suspects", "expected"),
    [
        (set(), [[1, 2, 3, 4, 5]]),
        ({1}, [[1], [2, 3, 4, 5]]),
        ({3}, [[1, 2], [3], [4, 5]]),
        ({3, 4}, [[1, 2], [3], [4], [5]]),
        ({5}, [[1, 2, 3, 4], [5]]),
        ({1, 2, 3, 4, 5}, [[1], [2], [3], [4], [5]]),
        ({9}, [[1, 2, 3, 4, 5]]),
    ],
)
def test_frames_that_may_have_killed_the_process_are_computed_alone(
    suspects: set[int], expected: list[list[int]]
) -> None:
    found = stretches([entry(position) for position in range(1, 6)], suspects)
    assert [[one.position for one in stretch] for stretch in found] == expected
    assert stretches([], suspects) == []


async def test_after_a_death_its_suspects_are_known_and_cleared_by_surviving(bench: Bench, tmp_path: Path) -> None:
    entries = await bench.take(*(tiny_input(seed) for seed in range(3)))
    await bench.journal.began([entry.position for entry in entries[:2]])
    await bench.journal.close()
    async with Journal.open(tmp_path / "journal.db", Bounds()) as journal:
        assert journal.suspects == {entry.position for entry in entries[:2]}
        compute = DurableCompute(bench.compute._models, bench.batcher, journal, max_queued=8)
        before = bench.batcher.runs
        assert len(await compute.advance(entries)) == 3
        assert bench.batcher.runs - before == 3
    async with Journal.open(tmp_path / "journal.db", Bounds()) as journal:
        assert journal.suspects == frozenset()
