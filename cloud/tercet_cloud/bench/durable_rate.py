"""`tercet bench durable`: how many durable frames a second an edge acknowledges and hands on, each on disk first.

Beside it how often this disk takes a small write for good, and how soon nodes with a long queue serve again.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tercet.closed_loop import WARM_UP_S, Load, summarise
from tercet.documents import write_document
from tercet.errors import DeadlineError, UnavailableError
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.process import Shutdown
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame
from tercet_cloud.bench.durable_restart import time_restarts
from tercet_cloud.bench.fsync_rate import fsync_per_s
from tercet_cloud.bench.load_process import run_load
from tercet_cloud.bench.publishing import machine, measure_and_publish
from tercet_cloud.bench.small_model import BOTH_PLAN, put_small_model, small_frame
from tercet_cloud.stack.local_stack import LocalStack, local_stack

GOAL_PER_S = 500
GOAL_RESTART_S = 10.0
FSYNC_S = 2.0
START_S = 30.0
DRAIN_S = 300.0


@dataclass(frozen=True)
class DurableOptions:
    """The command's options; see `tercet bench durable --help`."""

    devices: int
    seconds: float
    queued: int
    as_json: bool
    out: Path


async def bench_durable(options: DurableOptions, shutdown: Shutdown) -> int:
    """Measure, print, and write durable.json; exit status 0 once measured, whether or not goals are met."""
    return await measure_and_publish(
        _measure(options), options.out / "durable.json", _print, shutdown, as_json=options.as_json
    )


async def _measure(options: DurableOptions) -> dict[str, object]:
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    store = Store(out / "store")
    deployment = put_small_model(store)
    write_document(deployment, out / "deployment.yaml")
    frame = out / "durable.frame"
    frame.write_bytes(durable_frame(deployment))
    run = out / "run"
    # Journals of the last run would be handed on first.
    await asyncio.to_thread(shutil.rmtree, run, ignore_errors=True)
    fsyncs = await asyncio.to_thread(fsync_per_s, run, FSYNC_S)
    rows = []
    async with local_stack(run, store.root, out / "deployment.yaml") as stack:
        for frames in (1, 16, 64):
            rows.append(await _measure_row(stack, frame, frames, options))
    restart = await time_restarts(run, store.root, out / "deployment.yaml", frame.read_bytes(), options.queued)
    return {
        "command": f"tercet bench durable --devices {options.devices} --seconds {options.seconds:g} "
        f"--queued {options.queued}",
        "machine": machine(),
        "setting": "devices, broker, edge and cloud share these processors and one disk; nothing emulated",
        "frame_bytes": frame.stat().st_size,
        "bare_fsync_per_s": round(fsyncs),
        "rows": rows,
        "restart": restart,
        "goals": _goals(rows, restart),
    }


def durable_frame(deployment: Deployment) -> bytes:
    """A small frame of class durable, of which the edge computes a segment and the cloud another."""
    frame = Frame.open(small_frame(deployment, BOTH_PLAN))
    frame.header.delivery = pb.DELIVERY_CLASS_DURABLE
    frame.header.deadline_ms = 0
    return frame.seal()


async def _measure_row(stack: LocalStack, frame: Path, frames: int, options: DurableOptions) -> dict[str, object]:
    """Devices deliver messages of so many frames for a while; then the edge is let to hand on what it has."""
    before = await _counters(stack)
    began_s = time.perf_counter()
    arguments = [
        *(urlsplit(stack.file.broker_url).netloc, str(frame), str(options.devices)),
        *(str(options.seconds), str(frames)),
    ]
    text = await run_load("tercet_cloud.bench.durable_callers", arguments, options.seconds + WARM_UP_S + START_S)
    load = Load.from_json(text)
    after = await _until_handed_on(stack)
    # From the first frame to the last, the warm-up included: the cloud is behind or it is not.
    stored = after["acknowledged"] - before["acknowledged"]
    row = summarise([load])
    return {
        "devices": options.devices,
        "message_frames": frames,
        "acknowledged_per_s": round(row["per_s"] * frames, 1),
        "mean_ms": row["mean_ms"],
        "p99_ms": row["p99_ms"],
        "failed": row["failed"],
        "stored": stored,
        "stored_per_s": round(stored / (time.perf_counter() - began_s), 1),
        "devices_cores": row["callers_cores"],
    }


async def _until_handed_on(stack: LocalStack) -> dict[str, int]:
    """The edge's counters once the cloud has everything."""
    until_s = time.perf_counter() + DRAIN_S
    while time.perf_counter() < until_s:
        counters = await _counters(stack)
        if not counters["held_frames"]:
            if counters["dead_lettered"]:
                raise UnavailableError("frames went to the edge's dead letters: see the logs")
            return counters
        await asyncio.sleep(0.05)
    raise DeadlineError(f"the edge has not handed on its frames within {DRAIN_S:g} s")


async def _counters(stack: LocalStack) -> dict[str, int]:
    text = await asyncio.to_thread(_read, f"http://127.0.0.1:{stack.edge.health_port}/metrics")
    found = re.findall(r"^tercet_durable_(\w+?)(?:_total)?\{[^}]*\} (\d+)", text, re.MULTILINE)
    return {name: int(value) for name, value in found}


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def _goals(rows: list[dict[str, object]], restart: Mapping[str, object]) -> dict[str, object]:
    """Each goal with what was found and whether it is met."""
    goals: dict[str, object] = {}
    for name in ("acknowledged_per_s", "stored_per_s"):
        found = max(float(str(row[name])) for row in rows)
        goals[name] = {"goal": GOAL_PER_S, "found": found, "met": found >= GOAL_PER_S}
    slowest = max(float(str(restart[name])) for name in restart if name.endswith("_s"))
    goals["restart_s"] = {"goal": GOAL_RESTART_S, "found": slowest, "met": slowest <= GOAL_RESTART_S}
    return goals


def _print(report: Mapping[str, object], console: Console) -> None:
    rows, goals, restart = report["rows"], report["goals"], report["restart"]
    assert isinstance(rows, list)
    assert isinstance(goals, dict)
    assert isinstance(restart, dict)
    table = Table(title="Durable frames, on disk before each receipt", title_justify="left")
    for name in ("devices", "frames a message", "acknowledged/s", "mean ms", "p99 ms", "stored in the cloud/s"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            str(row["devices"]),
            str(row["message_frames"]),
            f"{row['acknowledged_per_s']:.0f}",
            f"{row['mean_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            f"{row['stored_per_s']:.0f}",
        )
    console.print(table)
    console.print(f"this disk alone: {report['bare_fsync_per_s']} fdatasync of a page a second")
    console.print(
        "with {queued_frames} frames queued: edge ready after {edge_ready_s} s, its first receipt after "
        "{edge_first_receipt_s} s; device ready after {device_ready_s} s".format(**restart),
        soft_wrap=True,
    )
    for name, goal in goals.items():
        console.print(f"goal {name}: {goal['found']} of {goal['goal']}, {'met' if goal['met'] else 'missed'}")
    console.print(f"{report['machine']}; {report['setting']}.", soft_wrap=True)
