"""Runs the bench: one device, one edge and a cloud as processes, the first link through a relay that steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tercet.documents import write_document
from tercet.errors import UnavailableError
from tercet.frame_record import read_records
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.process import Shutdown
from tercet_cloud.bench.adapt.figures import Phase, Run, oracle, plans_used, reaction_s, run_figures
from tercet_cloud.bench.publishing import measure_and_publish
from tercet_cloud.demo.run import stored_model
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.trace import Trace, step_trace
from tercet_cloud.measurement.sample_frames import FrameSource
from tercet_cloud.measurement.sample_photos import write_crops
from tercet_cloud.planner.costs.conditions import ConditionRange
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Tiers, TierSpec, Topology
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.planning import PlanRequest, plan_model
from tercet_cloud.planner.progress_bars import ProgressBars
from tercet_cloud.stack.local_stack import DEVICE_EDGE, Emulation, LocalStack, local_stack

GOAL_REACTION_S, GOAL_P99_RATIO = 1.0, 1.2
ADAPTIVE, ALL_DEVICE, ALL_CLOUD = "adaptive", "all-device", "all-cloud-jpeg"
DEVICE_SLOWDOWN, EDGE_SLOWDOWN = 20.0, 3.0
ROUND_TRIP_MS = 10.0
# What messaging costs a frame on each link, as `tercet bench hops` measures it.
OVERHEAD_MS = 3.0
FAST_MBPS, SLOW_MBPS = 50.0, 2.0
UPLINK = LinkCondition.symmetric(20, 20)
DEADLINE_MS = 250
WARM_UP_S = 3.0
_SPARE_S = 60.0


@dataclass(frozen=True)
class AdaptOptions:
    """The command's options; see `tercet bench adapt --help`."""

    phase_s: float
    rate_hz: float
    as_json: bool
    out: Path
    store: Path

    @property
    def phases(self) -> tuple[Phase, ...]:
        names = (f"{FAST_MBPS:g} Mbit/s", f"{SLOW_MBPS:g} Mbit/s", f"{FAST_MBPS:g} Mbit/s again")
        return tuple(Phase(name, n * self.phase_s, (n + 1) * self.phase_s) for n, name in enumerate(names))


async def bench_adapt(options: AdaptOptions, shutdown: Shutdown) -> int:
    """Measure, print, and write adapt.json; exit status 0 once measured, whether or not the goals are met."""
    return await measure_and_publish(
        _measure(options), options.out / "adapt.json", _print, shutdown, as_json=options.as_json
    )


async def _measure(options: AdaptOptions) -> dict[str, object]:
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    store = Store(options.store.resolve())
    deployment = await asyncio.to_thread(_plan, store)
    write_document(deployment, out / "deployment.yaml")
    write_crops(16, [out / "photos"])
    fast, slow = (LinkCondition.symmetric(mbps, ROUND_TRIP_MS) for mbps in (FAST_MBPS, SLOW_MBPS))
    emulation = Emulation(fast, UPLINK, DEVICE_SLOWDOWN, EDGE_SLOWDOWN)
    trace = step_trace(fast, slow, options.phase_s, 2 * options.phase_s)
    runs: list[Run] = []
    async with local_stack(out / "logs", store.root, out / "deployment.yaml", emulation) as stack:
        for strategy in (ADAPTIVE, *(plan.id for plan in deployment.plans)):
            await stack.links.change(DEVICE_EDGE, fast)
            runs.append(await _run(stack, options, out, strategy, trace))
    return _report(options, emulation, runs)


def _topology(mbps: float) -> Topology:
    return Topology(
        name="bench-adapt",
        tiers=Tiers(device=TierSpec(slowdown=DEVICE_SLOWDOWN), edge=TierSpec(slowdown=EDGE_SLOWDOWN)),
        links=Links(
            device_edge=_link(LinkCondition.symmetric(mbps, ROUND_TRIP_MS)),
            edge_cloud=_link(UPLINK),
        ),
        constraints=Constraints(max_accuracy_drop=0.1),
    )


def _link(condition: LinkCondition) -> LinkSpec:
    return LinkSpec(
        up_mbps=condition.up_mbps,
        down_mbps=condition.down_mbps,
        round_trip_ms=condition.round_trip_ms,
        overhead_ms=OVERHEAD_MS,
    )


def _plan(store: Store) -> Deployment:
    """The plan table for links from slow to fast, and what one would do without a planner."""
    request = PlanRequest(
        _topology(FAST_MBPS),
        frames=FrameSource(evaluation_frames=64),
        conditions=ConditionRange(
            device_edge_mbps=(1, 2, 4, 8, 16, 32, 64),
            edge_cloud_mbps=(),
            edge_cloud_round_trip_ms=(),
            deadline_ms=(),
        ),
    )
    with ProgressBars(Console(stderr=True)) as bars:
        planned = plan_model(store, stored_model(store), request, bars)
    rows = planned.deployed_rows()
    present = {row.candidate for row in rows.values()}
    for row in planned.report.baselines:
        name = ALL_CLOUD if row.name.startswith("all-cloud (jpeg") else row.name
        if name in (ALL_DEVICE, ALL_CLOUD) and row.candidate not in present:
            rows[name] = row
    deployment = deploy_plans(planned.model.store, planned.model.card, planned.model.graph, planned.coding, rows)
    # Sending photos to the cloud is compared with, and not chosen among: its accuracy is not part of the table.
    plans = tuple(
        plan.model_copy(update={"predicted": None}) if plan.id == ALL_CLOUD else plan for plan in deployment.plans
    )
    return deployment.model_copy(update={"plans": plans})


async def _run(stack: LocalStack, options: AdaptOptions, out: Path, strategy: str, trace: Trace) -> Run:
    """One device through the whole trace, after a warm-up under its first condition."""
    results = out / f"results-{strategy}.jsonl"
    lasts_s = WARM_UP_S + 3 * options.phase_s
    arguments = [
        *("--source", str(out / "photos"), "--frames", str(round(lasts_s * options.rate_hz))),
        *("--rate-hz", str(options.rate_hz), "--window", "8", "--deadline-ms", str(DEADLINE_MS)),
        *("--results", str(results)),
        *(() if strategy == ADAPTIVE else ("--plan", strategy)),
    ]
    device = stack.start_device(f"device-{strategy}", arguments)
    await _first_record(results)
    await asyncio.sleep(WARM_UP_S)
    await stack.links.play(DEVICE_EDGE, trace)
    began_s = time.monotonic()
    status = await device.wait_exit(lasts_s + _SPARE_S)
    if status:
        raise UnavailableError(f"{device.node} failed: {device.last_words()}; see {device.log}")
    records = [record for record in read_records(results) if record.started_s >= began_s]
    return Run(strategy, began_s, tuple(records))


async def _first_record(results: Path) -> None:
    async with asyncio.timeout(_SPARE_S):
        while not results.exists() or not results.stat().st_size:
            await asyncio.sleep(0.05)


def _report(options: AdaptOptions, emulation: Emulation, runs: Sequence[Run]) -> dict[str, object]:
    adaptive, *fixed = runs
    knowing, knowing_plans = oracle(fixed, options.phases, DEADLINE_MS)
    figures = {run.strategy: run_figures(run, DEADLINE_MS) for run in runs}
    average = min((figures[run.strategy] for run in fixed), key=lambda one: (-one.in_deadline, one.p50_ms))
    return {
        "command": f"tercet bench adapt --phase-s {options.phase_s:g} --rate-hz {options.rate_hz:g}",
        "setting": f"{emulation.describe()} The first link then steps to {SLOW_MBPS:g} Mbit/s and back.",
        "deadline_ms": DEADLINE_MS,
        "strategies": [asdict(figures[run.strategy]) for run in runs] + [asdict(knowing)],
        "oracle_plans": knowing_plans,
        "best_average_plan": average.strategy,
        "adaptive_plans": plans_used(adaptive, options.phases),
        "reaction_s": {phase.name: reaction_s(adaptive, fixed, phase) for phase in options.phases[1:]},
        "p99_over_oracle": figures[ADAPTIVE].p99_ms / knowing.p99_ms,
        "goal": {"reaction_s": GOAL_REACTION_S, "p99_over_oracle": GOAL_P99_RATIO},
    }


def _print(report: dict[str, object], console: Console) -> None:
    table = Table(title="Frames while the link changes", title_justify="left")
    for title in ("strategy", "frames", "answered", "degraded", "in deadline", "p50 ms", "p99 ms"):
        table.add_column(title, justify="left" if title == "strategy" else "right")
    strategies = report["strategies"]
    assert isinstance(strategies, list)
    for row in strategies:
        numbers = (row["frames"], row["answered"], row["degraded"])
        times = (f"{row['in_deadline']:.1%}", f"{row['p50_ms']:.0f}", f"{row['p99_ms']:.0f}")
        table.add_row(row["strategy"], *map(str, numbers), *times)
    console.print(table)
    reactions = report["reaction_s"]
    assert isinstance(reactions, dict)
    for name, seconds in reactions.items():
        told = "never" if seconds is None else f"{seconds:.2f} s"
        console.print(
            f"a plan as good as the best in use after the change to {name}: {told} (goal ≤ {GOAL_REACTION_S:g} s)"
        )
    console.print(f"p99 over the oracle's: {report['p99_over_oracle']:.2f} (goal ≤ {GOAL_P99_RATIO:g})")
    console.print(f"oracle: {report['oracle_plans']}; adaptive: {report['adaptive_plans']}", soft_wrap=True)
    console.print(f"{report['setting']} Deadline {report['deadline_ms']} ms.", soft_wrap=True)
