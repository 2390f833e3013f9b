"""`tercet bench hops`: the cost of the way, beside what is computed on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

from tercet.documents import write_document
from tercet.errors import UnavailableError
from tercet.frame_record import FrameRecord, read_records
from tercet.models.store import Store
from tercet.process import Shutdown
from tercet.tiers import Tier
from tercet_cloud.bench.floor import time_grpc_echo, time_mqtt_echo, time_serve_empty
from tercet_cloud.bench.lite0_cut import cut_model, stored_model
from tercet_cloud.bench.publishing import machine, measure_and_publish
from tercet_cloud.demo.summary import time_split
from tercet_cloud.measurement.sample_photos import write_crops
from tercet_cloud.stack.local_stack import LocalStack, local_stack

GOAL_P50_MS = 2.5
ROUNDS = 3
WARM_UP_FRAMES = 20
PHOTOS = 8
DEVICE_S = 300.0
ANSWER_BYTES = 4200

_TITLES = {
    "whole_path": "whole path less compute",
    "device": "device: encode, seal, event loop",
    "device_edge": "link device–edge: MQTT, both ways",
    "edge": "edge: open, decode, encode, event loop",
    "edge_cloud": "link edge–cloud: gRPC, HAProxy, Serve",
    "cloud": "cloud: open, decode, batch queue, seal",
    "bare_mqtt_echo": "bare MQTT echo, same broker and sizes",
    "bare_grpc_echo": "bare grpc.aio echo, same sizes",
    "empty_serve_call": "empty call through HAProxy and Serve",
}


@dataclass(frozen=True)
class HopsOptions:
    """The command's options; see `tercet bench hops --help`."""

    frames: int
    codec: str
    as_json: bool
    out: Path
    store: Path


async def bench_hops(options: HopsOptions, shutdown: Shutdown) -> int:
    """Measure, print, and write hops.json; exit status 0 once measured, whether or not the goal is met."""
    return await measure_and_publish(
        _measure(options), options.out / "hops.json", _print, shutdown, as_json=options.as_json
    )


async def _measure(options: HopsOptions) -> dict[str, object]:
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    store = Store(options.store.resolve())
    card = await asyncio.to_thread(stored_model, store)
    deployment = await asyncio.to_thread(cut_model, card, store)
    write_document(deployment, out / "deployment.yaml")
    write_crops(PHOTOS, [out / "photos"])
    records: list[FrameRecord] = []
    hot: dict[str, list[float]] = {}
    paced: dict[str, list[float]] = {}
    per_round = -(-options.frames // ROUNDS)
    async with local_stack(out / "logs", store.root, out / "deployment.yaml") as stack:
        broker_port = urlsplit(stack.file.broker_url).port or 0
        for number in range(ROUNDS):
            # In turn, so that a machine that drifts drifts for all.
            fresh = await _send(stack, out, number, per_round + WARM_UP_FRAMES, options.codec)
            records.extend(fresh[WARM_UP_FRAMES:])
            up_bytes = _received_bytes(fresh, Tier.EDGE)
            on_bytes = _received_bytes(fresh, Tier.CLOUD)
            frame_s = percentiles(record.latency_ms for record in fresh)["p50"] / 1000
            for floor, pause_s in ((hot, 0.0), (paced, frame_s)):
                for name, times_ms in (
                    (
                        "bare_mqtt_echo",
                        await time_mqtt_echo(per_round, pause_s, up_bytes, ANSWER_BYTES, broker_port),
                    ),
                    ("bare_grpc_echo", await time_grpc_echo(per_round, pause_s, on_bytes, ANSWER_BYTES)),
                    ("empty_serve_call", await time_serve_empty(per_round, pause_s, stack.cloud_address)),
                ):
                    floor.setdefault(name, []).extend(times_ms)
    return {
        "command": f"tercet bench hops --frames {options.frames} --codec {options.codec}",
        "machine": machine(),
        "setting": "one device, one frame at a time, all tiers on this machine over loopback; nothing emulated",
        "frames": len(records),
        "bytes": {"device_edge": up_bytes, "edge_cloud": on_bytes},
        "latency_ms": percentiles(record.latency_ms for record in records),
        "compute_ms": percentiles(compute_ms(record) for record in records),
        "overhead_ms": {name: percentiles(times) for name, times in overheads(records).items()},
        "floor_ms": {name: percentiles(times) for name, times in hot.items()},
        "floor_paced_ms": {name: percentiles(times) for name, times in paced.items()},
        "goal": {"whole_path_p50_ms": GOAL_P50_MS},
    }


async def _send(stack: LocalStack, out: Path, number: int, frames: int, codec: str) -> list[FrameRecord]:
    """One device sends `frames` frames one after another; all must come back as planned."""
    results = out / f"results-{number}.jsonl"
    device = stack.start_device(
        f"bench-{number}",
        [
            *("--source", str(out / "photos"), "--frames", str(frames)),
            *("--plan", codec, "--results", str(results), "--no-fallback"),
        ],
    )
    status = await device.wait_exit(DEVICE_S)
    if status:
        raise UnavailableError(f"{device.node} failed: {device.last_words()}; see {device.log}")
    records = list(read_records(results))
    if degraded := [record for record in records if record.degraded]:
        raise UnavailableError(f"{len(degraded)} frames took another way than planned: {degraded[0].reason}")
    return records


def compute_ms(record: FrameRecord) -> float:
    return sum(visit.compute_ms for visit in record.visits)


def overheads(records: Sequence[FrameRecord]) -> dict[str, list[float]]:
    """Per frame and part of the way, what it took beyond computing segments, in ms."""
    parts: dict[str, list[float]] = {"whole_path": []}
    for record in records:
        parts["whole_path"].append(record.latency_ms - compute_ms(record))
        computed = {visit.tier.value: visit.compute_ms for visit in record.visits}
        for part, part_ms in time_split(record).items():
            parts.setdefault(part, []).append(part_ms - computed.get(part, 0.0))
    return parts


def percentiles(times_ms: Iterable[float]) -> dict[str, float]:
    p50, p99 = np.percentile(list(times_ms), [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def _received_bytes(records: Sequence[FrameRecord], tier: Tier) -> int:
    visit = records[-1].visit(tier)
    return visit.received_bytes if visit else 0


def _print(report: dict[str, object], console: Console) -> None:
    table = Table(title="What the way costs beside computing, ms", title_justify="left")
    table.add_column("part")
    table.add_column("p50", justify="right")
    table.add_column("p99", justify="right")
    for group, suffix in (("overhead_ms", ""), ("floor_ms", ", back to back"), ("floor_paced_ms", ", paced")):
        rows = report[group]
        assert isinstance(rows, dict)
        for name, row in rows.items():
            table.add_row(_TITLES[name] + suffix, f"{row['p50']:.2f}", f"{row['p99']:.2f}")
        table.add_section()
    console.print(table)
    for name in ("latency_ms", "compute_ms"):
        row = report[name]
        assert isinstance(row, dict)
        console.print(f"{name.removesuffix('_ms')}: p50 {row['p50']:.2f} ms, p99 {row['p99']:.2f} ms")
    console.print("paced: after a pause as long as a frame takes, as the real path finds its transports.")
    console.print(f"goal: whole path p50 ≤ {GOAL_P50_MS} ms. {report['setting']}.", soft_wrap=True)
