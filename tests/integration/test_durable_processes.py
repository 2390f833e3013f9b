"""`--delivery durable` with real processes that are killed, and a device whose clock is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from support.brokers import fresh_embedded
from support.delivery_store import DeliveryStore, delivery_store
from support.image_model import put_image_model, random_pixels
from support.processes import TierProcess, tier_process
from tercet.documents import write_document
from tercet.error_codes import CODES
from tercet.errors import UnavailableError
from tercet.frame_record import FrameRecord, read_records
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet.v1 import delivery_pb2 as pb

FLEET_OPTIONS = ("--fleet", "test")


@dataclass
class Site:
    """A broker, a store in the cloud, and what processes of the two tiers between need."""

    folder: Path
    broker: BrokerUrl
    cloud: DeliveryStore
    arguments: tuple[str, ...]
    results: list[Path] = field(default_factory=list)

    def edge(self, name: str = "edge-1") -> contextlib.AbstractContextManager[TierProcess]:
        arguments = [
            *("edge", "run", *self.arguments, *FLEET_OPTIONS, "--node", name, "--broker-url", str(self.broker)),
            *("--cloud-address", self.cloud.address, "--state", str(self.folder / name)),
        ]
        return tier_process(arguments, self.folder)

    def device(self, frames: int, *options: str) -> contextlib.AbstractContextManager[TierProcess]:
        self.results.append(self.folder / f"results-{len(self.results)}.jsonl")
        arguments = [
            *("device", "run", *self.arguments, *FLEET_OPTIONS, "--node", "cam-1"),
            *("--broker-url", str(self.broker)),
            *("--source", str(self.folder / "photos"), "--frames", str(frames), "--delivery", "durable"),
            *("--state", str(self.folder / "cam-1"), "--results", str(self.results[-1]), *options),
        ]
        return tier_process(arguments, self.folder, ready_within_s=None)

    def acknowledged(self) -> list[FrameRecord]:
        """Of all devices so far. A line that a kill has cut off says nothing."""
        found = []
        for path in self.results:
            if path.exists():
                text = path.read_text().rpartition("\n")[0]
                (path.parent / "whole.jsonl").write_text(text)
                found += [record for record in read_records(path.parent / "whole.jsonl") if record.acknowledged]
        return found

    async def wait_acknowledged(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.acknowledged()) < count:
                await asyncio.sleep(0.02)

    def assert_all_stored_once_and_in_order(self) -> None:
        sequences = [record.sequence for record in self.acknowledged()]
        assert max(Counter(sequences).values()) == 1
        stored = self.cloud.of("cam-1")
        assert set(sequences) <= set(stored)
        assert stored == sorted(stored)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = Store(tmp_path / "store")
    manifest = put_image_model(store)
    plan = Plan(id="whole-way", device_until=0, edge_until=1)
    write_document(Deployment(model=manifest.ref, plans=(plan,)), tmp_path / "deployment.yaml")
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(random_pixels(0, 3)):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    arguments = ("--store", str(store.root), "--deployment", str(tmp_path / "deployment.yaml"))
    async with fresh_embedded() as broker, delivery_store() as cloud:
        yield Site(tmp_path, broker, cloud, arguments)


def kill(process: TierProcess) -> None:
    process.signal(signal.SIGKILL)
    process.wait(10)


async def ended(process: TierProcess) -> int:
    return await asyncio.to_thread(process.wait, 30)


async def counted(process: TierProcess, name: str, count: int) -> None:
    """Until the process says that it has counted so many; it looks once a second."""
    async with asyncio.timeout(10):
        while (await asyncio.to_thread(process.facts))["durable"][name] < count:
            await asyncio.sleep(0.1)


async def test_a_device_stays_until_an_edge_has_all_and_says_so_with_its_status(site: Site) -> None:
    with ExitStack() as stack:
        device = stack.enter_context(site.device(8))
        await site.wait_acknowledged(8)
        await asyncio.sleep(0.3)
        assert device.process.poll() is None
        edge = await asyncio.to_thread(stack.enter_context, site.edge())
        assert await ended(device) == 0
        await site.cloud.wait_stored(8)
        await counted(edge, "acknowledged", 8)
    site.assert_all_stored_once_and_in_order()
    assert all(record.delivery == "durable" for record in site.acknowledged())


async def test_a_device_that_must_leave_before_that_says_how_many_frames_are_left(site: Site) -> None:
    with site.device(5) as device:
        await site.wait_acknowledged(5)
        device.signal(signal.SIGTERM)
        assert await ended(device) == 75
        assert "frames are left in the outbox" in device.stderr()
        assert "frames=5" in device.stderr()
    with site.device(5, "--no-until-delivered") as device:
        assert await ended(device) == 0


async def test_a_killed_device_sends_what_it_acknowledged_after_its_next_start(site: Site) -> None:
    with site.device(100_000) as device:
        await site.wait_acknowledged(30)
        kill(device)
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, site.edge())
        device = stack.enter_context(site.device(3))
        assert await ended(device) == 0
        await site.cloud.wait_stored(len(site.acknowledged()))
    site.assert_all_stored_once_and_in_order()


async def test_killed_edges_and_devices_lose_nothing_and_store_nothing_twice(site: Site) -> None:
    for victims in ("edge", "device", "both"):
        with ExitStack() as stack:
            edge = await asyncio.to_thread(stack.enter_context, site.edge())
            before = len(site.acknowledged())
            device = stack.enter_context(site.device(100_000, "--window", "4"))
            await site.wait_acknowledged(before + 20)
            if victims != "device":
                kill(edge)
            if victims != "edge":
                kill(device)
            else:
                await site.wait_acknowledged(before + 40)
                kill(device)
    with ExitStack() as stack:
        edge = await asyncio.to_thread(stack.enter_context, site.edge())
        device = stack.enter_context(site.device(3))
        assert await ended(device) == 0
        await site.cloud.wait_stored(len(site.acknowledged()))
        facts = await asyncio.to_thread(edge.facts)
    assert facts["durable"]["dead_lettered"] == 0
    site.assert_all_stored_once_and_in_order()


async def test_a_device_whose_clock_says_1970_works_and_its_frames_get_their_true_time(site: Site) -> None:
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, site.edge())
        began_s = time.time()
        device = stack.enter_context(
            site.device(4, "--emulated-clock-offset-s", str(-began_s), "--emulated-clock-jump-s", "0.5:900000")
        )
        assert await ended(device) == 0
        await site.cloud.wait_stored(4)
        assert "wall clock emulated" in device.stderr()
    for stored in site.cloud.stored.values():
        assert began_s - 1 < stored.captured_s < time.time() + 1
        assert stored.age_source == pb.AGE_SOURCE_MONOTONIC


async def test_two_agents_of_one_name_cannot_keep_frames_in_one_folder(site: Site) -> None:
    with site.device(2) as first:
        await site.wait_acknowledged(2)
        with site.device(2) as second:
            assert await ended(second) == CODES[UnavailableError].exit_status
            assert "--state" in second.stderr().splitlines()[-1]
            assert str(first.pid) in second.stderr()
