"""How soon nodes serve again that start with many frames queued, and without a next tier."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tercet.durable.bounds import Bounds
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.journal import Arrival, Journal
from tercet.errors import DeadlineError
from tercet.identifiers import NodeId
from tercet.limits import MIB
from tercet.tiers import Tier
from tercet.wire.messages import Frame
from tercet_cloud.bench.durable_callers import LightDevice
from tercet_cloud.stack.local_stack import FLEET
from tercet_cloud.stack.tier_process import TierProcess, free_port

READY_S = 60.0
_RECEIPT_S = 0.2
_AT_ONCE = 500


async def fill_journal(path: Path, sealed: bytes, frames: int) -> None:
    """Put so many frames of another node into a journal, as if they had been taken over days."""
    frame = Frame.open(sealed)
    frame.header.node = "filler"
    clock = CaptureClock(path.parent)
    async with Journal.open(path, Bounds(max_bytes=1024 * MIB), clock=clock) as journal:
        for first in range(1, frames + 1, _AT_ONCE):
            arrivals = []
            for sequence in range(first, min(first + _AT_ONCE, frames + 1)):
                frame.header.sequence = sequence
                arrivals.append(Arrival(NodeId("filler"), sequence, frame.seal(), clock.now()))
            await journal.take(arrivals)


async def time_restarts(
    folder: Path, store: Path, deployment: Path, sealed: bytes, frames: int
) -> dict[str, object]:
    """Seconds from the start of the process until each does its work, with `frames` in its journal."""
    common = ["--store", str(store), "--deployment", str(deployment), "--fleet", FLEET]
    mqtt_port = free_port()
    edge_state, device_state = folder / "edge-state", folder / "device-state"
    await fill_journal(edge_state / "journal.db", sealed, frames)
    await fill_journal(device_state / "outbox.db", sealed, frames)
    edge = TierProcess(
        Tier.EDGE,
        "edge-1",
        [*common, "--mqtt-port", str(mqtt_port), "--cloud-address", "none", "--state", str(edge_state)],
        folder / "edge-restart.log",
    )
    device = TierProcess(
        Tier.DEVICE,
        "cam-1",
        [
            *(*common, "--broker-url", f"mqtt://127.0.0.1:{free_port()}", "--state", str(device_state)),
            *("--delivery", "durable"),
        ],
        folder / "device-restart.log",
    )
    try:
        began_s = time.perf_counter()
        edge.start()
        receipt_s = await _until_receipt(mqtt_port, sealed) - began_s
        await edge.wait_ready(READY_S)
        edge_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        device.start()
        await device.wait_ready(READY_S)
        device_s = time.perf_counter() - began_s
    finally:
        edge.kill()
        device.kill()
    return {
        "queued_frames": frames,
        "edge_ready_s": round(edge_s, 2),
        "edge_first_receipt_s": round(receipt_s, 2),
        "device_ready_s": round(device_s, 2),
    }


async def _until_receipt(mqtt_port: int, sealed: bytes) -> float:
    """When a device, which tries again and again, has its first frame acknowledged."""
    until_s = time.perf_counter() + READY_S
    while time.perf_counter() < until_s:
        device = LightDevice(0, Frame.open(sealed))
        try:
            await device.connect("127.0.0.1", mqtt_port)
            while time.perf_counter() < until_s:
                if await device.deliver(1, _RECEIPT_S):
                    return time.perf_counter()
        except OSError:
            await asyncio.sleep(0.02)
        finally:
            device.close()
    raise DeadlineError(f"the edge acknowledged nothing within {READY_S:g} s")
