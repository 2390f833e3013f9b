"""`tercet bench serve`: answers a second and how late, under many callers, with and without batching.

Two stacks run side by side, one that batches nowhere and one as it is by default, so that every round measures both
and the bare echo on the machine as it is at that moment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from tercet.closed_loop import WARM_UP_S, Load, summarise
from tercet.documents import write_document
from tercet.models.store import Store
from tercet.process import Shutdown
from tercet_cloud.bench.callers import LAST_ANSWER_S, Devices
from tercet_cloud.bench.floor import running_grpc_echo
from tercet_cloud.bench.load_process import run_load
from tercet_cloud.bench.publishing import machine, measure_and_publish
from tercet_cloud.bench.small_model import CLOUD_PLAN, EDGE_PLAN, put_small_model, small_frame
from tercet_cloud.stack.local_stack import LocalStack, local_stack

# What the field has published for a small segment at an edge, per core; the goal is twice that.
PUBLISHED_PER_S_CORE = 213
START_S = 30.0
# Of a small model's answer, seal and route included.
ANSWER_BYTES = 250
# Room for all callers: this measures service, not refusals.
ROOM = ("--max-queued", "2048")
UNBATCHED_CLOUD = (*ROOM, "--max-batch-size", "1")
UNBATCHED_EDGE = (*ROOM, "--max-batch", "1", "--max-call-frames", "1")

ECHO = "bare gRPC echo"
CLOUD, UPLINK, EDGE, THROUGH = "cloud, by gRPC", "edge→cloud", "edge, by MQTT", "device→edge→cloud"
PLAIN, BATCHED = "no", "yes"


@dataclass(frozen=True)
class ServeOptions:
    """The command's options; see `tercet bench serve --help`."""

    callers: tuple[int, ...]
    seconds: float
    rounds: int
    devices: int
    devices_s: float
    as_json: bool
    out: Path


@dataclass(frozen=True)
class _Measurement:
    """One row: a process that calls, and what it calls."""

    what: str
    batching: str
    module: str
    arguments: tuple[str, ...]


async def bench_serve(options: ServeOptions, shutdown: Shutdown) -> int:
    """Measure, print, and write serve.json; exit status 0 once measured, whether or not goals are met."""
    return await measure_and_publish(
        _measure(options), options.out / "serve.json", _print, shutdown, as_json=options.as_json
    )


async def _measure(options: ServeOptions) -> dict[str, object]:
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    store = Store(out / "store")
    deployment = put_small_model(store)
    write_document(deployment, out / "deployment.yaml")
    frames = {plan: out / f"{plan}.frame" for plan in (EDGE_PLAN, CLOUD_PLAN)}
    for plan, path in frames.items():
        path.write_bytes(small_frame(deployment, plan))
    rows: list[dict[str, object]] = []
    devices: dict[str, object] | None = None
    async with AsyncExitStack() as resources:
        if options.callers:
            batched = await resources.enter_async_context(
                local_stack(
                    out / "batched", store.root, out / "deployment.yaml", cloud_options=ROOM, edge_options=ROOM
                )
            )
            plain = await resources.enter_async_context(
                local_stack(
                    out / "plain",
                    store.root,
                    out / "deployment.yaml",
                    cloud_options=UNBATCHED_CLOUD,
                    edge_options=UNBATCHED_EDGE,
                )
            )
            echo_address = await resources.enter_async_context(running_grpc_echo(ANSWER_BYTES))
            measurements = _measurements(plain, batched, echo_address, frames)
            for callers in options.callers:
                rows += await _measure_rows(measurements, callers, options)
    if options.devices:
        # Alone on the machine, for what else stands by costs the processor too; with every default.
        async with local_stack(out / "devices", store.root, out / "deployment.yaml") as stack:
            devices = await _measure_devices(stack, frames[EDGE_PLAN], options)
    return {
        "command": f"tercet bench serve --seconds {options.seconds:g} --rounds {options.rounds} "
        f"--devices {options.devices} --devices-s {options.devices_s:g}",
        "machine": machine(),
        "setting": "callers, broker, edge and cloud share these processors over loopback; nothing emulated",
        "frame_bytes": frames[EDGE_PLAN].stat().st_size,
        "rows": rows,
        "devices": devices,
        "goals": _goals(rows, devices),
    }


def _measurements(
    plain: LocalStack, batched: LocalStack, echo_address: str, frames: Mapping[str, Path]
) -> list[_Measurement]:
    callers, uplink = "tercet_cloud.bench.callers", "tercet_edge.uplink_load"
    cloud_frame, edge_frame = str(frames[CLOUD_PLAN]), str(frames[EDGE_PLAN])
    rows = [_Measurement(ECHO, "", callers, ("grpc", echo_address, cloud_frame))]
    for batching, stack, call_frames in ((PLAIN, plain, "1"), (BATCHED, batched, "16")):
        broker = urlsplit(stack.file.broker_url).netloc
        rows += [
            _Measurement(CLOUD, batching, callers, ("grpc", stack.cloud_address, cloud_frame)),
            _Measurement(UPLINK, batching, uplink, (stack.cloud_address, cloud_frame, call_frames)),
            _Measurement(EDGE, batching, callers, ("mqtt", broker, edge_frame)),
            _Measurement(THROUGH, batching, callers, ("mqtt", broker, cloud_frame)),
        ]
    return rows


async def _measure_rows(
    measurements: Sequence[_Measurement], callers: int, options: ServeOptions
) -> list[dict[str, object]]:
    """All measurements in turn, round after round, so that a machine that drifts drifts for all."""
    loads: dict[_Measurement, list[Load]] = {}
    for _ in range(options.rounds):
        for measurement in measurements:
            numbers = [str(callers), str(options.seconds)]
            arguments = [*measurement.arguments, *numbers]
            if measurement.what == UPLINK:
                arguments = [*measurement.arguments[:2], *numbers, measurement.arguments[2]]
            text = await run_load(measurement.module, arguments, options.seconds + WARM_UP_S + START_S)
            loads.setdefault(measurement, []).append(Load.from_json(text))
    rows = []
    for measurement, found in loads.items():
        row = summarise(found)
        per_core = round(row["per_s"] / (os.cpu_count() or 1), 1)
        rows.append(
            {
                "what": measurement.what,
                "batching": measurement.batching,
                "callers": callers,
                **row,
                "per_s_core": per_core,
            }
        )
    return rows


async def _measure_devices(stack: LocalStack, frame: Path, options: ServeOptions) -> dict[str, object]:
    edge = psutil.Process(stack.edge.pid)
    tree = [edge, *edge.children(recursive=True)]
    before_s = [sum(process.cpu_times()[:2]) for process in tree]
    broker = urlsplit(stack.file.broker_url).netloc
    text = await run_load(
        "tercet_cloud.bench.callers",
        ["devices", broker, str(frame), str(options.devices), str(options.devices_s)],
        options.devices_s + LAST_ANSWER_S + 2 * START_S,
    )
    cores = [
        (sum(process.cpu_times()[:2]) - before) / options.devices_s
        for process, before in zip(tree, before_s, strict=True)
    ]
    seen = Devices.from_json(text)
    row = summarise([Load(seen.devices, seen.seconds, seen.refused, seen.cpu_s, seen.latencies_ms)])
    return {
        "devices": seen.devices,
        "seconds": seen.seconds,
        "sent": seen.sent,
        "answered": seen.answered,
        "refused": seen.refused,
        "lost": seen.lost,
        "twice": seen.twice,
        "disconnected": seen.disconnected,
        "sent_late": seen.late_starts,
        **{name: row[name] for name in ("per_s", "mean_ms", "p99_ms", "callers_cores")},
        "edge_cores": round(cores[0], 2),
        "broker_cores": round(sum(cores[1:]), 2),
        "edge_rss_mb": round(edge.memory_info().rss / 2**20),
    }


def _goals(rows: Sequence[Mapping[str, object]], devices: Mapping[str, object] | None) -> dict[str, object]:
    """Each goal with what was found and whether it is met."""
    goals: dict[str, object] = {}
    rate = {(row["what"], row["batching"], row["callers"]): row["per_s"] for row in rows}
    ratios = {}
    for (what, batching, callers), per_s in rate.items():
        if what == UPLINK and batching == BATCHED:
            bare = rate[(ECHO, "", callers)]
            assert isinstance(per_s, float)
            assert isinstance(bare, float)
            ratios[str(callers)] = round(per_s / bare, 2)
    if ratios:
        goals["edge_to_cloud_over_bare_echo"] = {"goal": 1.0, "found": ratios, "met": min(ratios.values()) >= 1.0}
    for name, what in (("edge_per_s_core", EDGE), ("cloud_per_s_core", CLOUD)):
        per_core = {
            str(row["callers"]): row["per_s_core"]
            for row in rows
            if row["what"] == what and row["batching"] == BATCHED
        }
        if per_core:
            goal = 2 * PUBLISHED_PER_S_CORE
            met = all(isinstance(found, float) and found >= goal for found in per_core.values())
            goals[name] = {"goal": goal, "found": per_core, "met": met}
    if devices:
        found = {name: devices[name] for name in ("lost", "refused", "disconnected")}
        goals["devices_unanswered"] = {"goal": 0, "found": found, "met": not any(found.values())}
    return goals


def _print(report: Mapping[str, object], console: Console) -> None:
    rows, devices, goals = report["rows"], report["devices"], report["goals"]
    assert isinstance(rows, list)
    assert isinstance(goals, dict)
    if rows:
        table = Table(title="Small frames under n concurrent callers; times in ms", title_justify="left")
        for name in ("n", "what", "batch", "per s", "a core", "mean", "p99", "failed"):
            table.add_column(name, justify="left" if name in ("what", "batch") else "right", no_wrap=True)
        for at, row in enumerate(rows):
            if at and rows[at - 1]["callers"] != row["callers"]:
                table.add_section()
            table.add_row(
                str(row["callers"]),
                row["what"],
                row["batching"],
                f"{row['per_s']:.0f}",
                f"{row['per_s_core']:.0f}",
                f"{row['mean_ms']:.1f}",
                f"{row['p99_ms']:.1f}",
                str(row["failed"]),
            )
        console.print(table)
    if isinstance(devices, dict):
        console.print(
            "{devices} devices, a frame a second each for {seconds:g} s: {sent} sent, {answered} answered, "
            "{refused} refused, {lost} lost; mean {mean_ms:.1f} ms, p99 {p99_ms:.1f} ms; processors used: "
            "edge {edge_cores}, broker {broker_cores}, devices {callers_cores}".format(**devices),
            soft_wrap=True,
        )
    for name, goal in goals.items():
        console.print(f"goal {name}: {goal['found']} of {goal['goal']}, {'met' if goal['met'] else 'missed'}")
    console.print(f"{report['machine']}; {report['setting']}.", soft_wrap=True)
