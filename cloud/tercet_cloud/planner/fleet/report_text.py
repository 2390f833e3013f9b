"""A fleet's plan for people: what every cohort does, how full edges and cloud are, and what to buy next."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from tercet_cloud.planner.fleet.cohort_plans import FleetPlan, Part
from tercet_cloud.planner.fleet.edge_loads import Load, OwnerLoad, owner_loads
from tercet_cloud.planner.fleet.shadow_prices import Purchase
from tercet_cloud.planner.report.circumstances import objective_text
from tercet_cloud.planner.report.route_text import route_text

FILE_WIDTH = 150
PARTS_SHOWN, OWNERS_SHOWN = 40, 25
_BAR = 10
_FULL = 0.995
_AS_GOOD_AS_BEST = 5e-5
_KINDS = ("cores", "uplink", "downlink", "memory")
_OF_ONE_FRAME = {"latency": "ms", "energy": "mJ", "bytes": "KB"}


def print_fleet(plan: FleetPlan, console: Console) -> None:
    """Cohorts, shared resources, purchases, and what the figures rest on. In a file as wide as it needs to be."""
    if not console.is_terminal:
        console.width = max(console.width, FILE_WIDTH)
    loads = owner_loads(plan)
    _say(console, f"{plan.setting.fleet.name}: {_summary(plan)}", "bold")
    console.print(_cohort_table(plan))
    if (hidden := len(plan.parts) - PARTS_SHOWN) > 0:
        _say(console, f"… and {hidden} more, with less of the objective; fleet-plan.json has all.", "dim")
    console.print(_load_table(loads))
    if (hidden := len(loads) - OWNERS_SHOWN) > 0:
        _say(console, f"… and {hidden} more that are less full; fleet-plan.json has all.", "dim")
    for line in purchase_lines(plan):
        _say(console, line)
    for line in circumstances(plan):
        _say(console, line, "dim")


def purchase_lines(plan: FleetPlan) -> list[str]:
    """What to buy next, best first."""
    if not plan.purchases:
        return ["What to buy next: nothing; no step of anything shared would better the objective."]
    per = "per money, best first" if plan.purchases[0].step.price is not None else "best first"
    return [f"What to buy next, {per}:", *(f"  {_purchase(plan, item)}" for item in plan.purchases)]


def circumstances(plan: FleetPlan) -> list[str]:
    """What the figures rest on, a line each; factors that are only stated are named."""
    fleet, choice = plan.setting.fleet, plan.choice
    slowed = sorted({cohort.device.slowdown for cohort in plan.setting.cohorts})
    edges = sorted(
        {cohort.on_edge(edge).tiers.edge.slowdown for cohort in plan.setting.cohorts for edge in fleet.edges}
    )
    notes = [f"{fleet.name}: {fleet.note}"] if fleet.note else []
    models = {cohort.model: cohort.template for cohort in plan.setting.cohorts}
    notes += [f"{template.name}: {template.note}" for template in models.values() if template.note]
    distance = f"A choice within {choice.gap:.2%} of the bound that none can beat"
    lossy = [part for part in plan.parts if part.accuracy is not None]
    return [
        *notes,
        f"Times: profiles times the stated slow-down (devices × {_range(slowed)}, edges × {_range(edges)}); links "
        "as stated; each frame as if alone: the expected wait for others comes on top.",
        f"Plans may use {fleet.utilisation:.0%} of cores and links, and all of the memory. Rates are averages.",
        f"{'The best choice' if choice.gap < _AS_GOOD_AS_BEST else distance} among "
        f"{' + '.join(f'{count:,} plans of {model}' for model, count in plan.pooled.items())}, "
        f"planned in {plan.planning_ms / 1e3:.1f} s.",
        f"Accuracy: {_counted(plan.measured, 'way')} of coding measured; {len(lossy)} of "
        f"{_counted(len(plan.parts), 'plan')} may lose any, at most as in the last column (95 % bound)."
        + (" No more were to be measured: better plans may be among the others." if plan.stopped else ""),
    ]


def _summary(plan: FleetPlan) -> str:
    fleet = plan.setting.fleet
    rate = fleet.frames_per_second
    return (
        f"{_counted(fleet.devices, 'device')} in {_counted(len(fleet.cohorts), 'cohort')} on "
        f"{_counted(len(fleet.edges), 'edge')}, "
        f"{rate:,.4g} frames a second; by {objective_text(plan.setting.objective)}: "
        f"{plan.choice.value / rate:,.4g} a frame on average"
    )


def _cohort_table(plan: FleetPlan) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("cohort", "devices", "edge", "where it is cut, and how each cut is coded"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "devices" else "left")
    for heading in ("ms", "KB to\nedge", "KB to\ncloud", "device\nmJ", "drop\nat most"):
        table.add_column(heading, justify="right", no_wrap=True)
    order = sorted(plan.parts, key=lambda part: -part.devices * part.value)
    shown = {id(part) for part in order[:PARTS_SHOWN]}
    last = -1
    for part in plan.parts:
        if id(part) in shown:
            table.add_row(*_cohort_cells(plan, part, first=part.cohort != last))
            last = part.cohort
    return table


def _cohort_cells(plan: FleetPlan, part: Part, *, first: bool) -> list[str]:
    found = part.prediction
    return [
        plan.setting.cohorts[part.cohort].spec.name if first else "",
        f"{part.devices:,}",
        plan.setting.fleet.edges[part.edge].name if found.device_edge_bytes else "–",
        route_text(part.candidate, plan.measurements[part.cohort].graph),
        _number(found.latency_ms),
        _number(found.device_edge_bytes / 1e3),
        _number(found.edge_cloud_bytes / 1e3),
        _number(found.device_energy_mj),
        f"{part.accuracy.drop_bound:.3f}" if part.accuracy else "–",
    ]


def _load_table(loads: Sequence[OwnerLoad]) -> Table:
    kinds = [kind for kind in _KINDS if any(owner.load(kind) for owner in loads)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("shared", overflow="fold")
    table.add_column("frames\na second", justify="right")
    for kind in kinds:
        table.add_column(f"{kind}\nof what plans may use", no_wrap=True)
    table.add_column("wait\nms", justify="right")
    fullest = sorted(loads, key=lambda owner: -max(load.share for load in owner.loads))[:OWNERS_SHOWN]
    for owner in (owner for owner in loads if owner in fullest):
        waits = sum(load.wait_ms for load in owner.loads)
        cells = [_bar(owner.load(kind)) for kind in kinds]
        table.add_row(owner.name, f"{owner.frames_per_second:,.4g}", *cells, _number(waits))
    return table


def _bar(load: Load | None) -> str:
    if load is None:
        return ""
    full = min(_BAR, round(load.share * _BAR))
    text = f"{'█' * full}{'░' * (_BAR - full)} {load.used:.3g} of {load.resource.usable:.3g} {load.resource.unit}"
    return f"[bold]{text}[/bold]" if load.share >= _FULL else text


def _purchase(plan: FleetPlan, item: Purchase) -> str:
    objective, rate = plan.setting.objective, plan.setting.fleet.frames_per_second
    unit = _OF_ONE_FRAME.get(objective, "") if isinstance(objective, str) else ""
    price = f" for {item.step.price:g}" if item.step.price is not None else ""
    mean = plan.choice.value / rate
    noun = item.resource.unit.rstrip("s") if item.step.amount == 1 else item.resource.unit
    of = "" if item.resource.kind == "cores" else f" {item.resource.kind}"
    return (
        f"{item.resource.owner}: {item.step.amount:g} {noun}{of} more ({item.resource.stated:g} now){price} saves "
        f"{item.gain:,.4g} {unit} a second over all frames: {mean:,.4g} → {mean - item.gain / rate:,.4g} {unit} "
        "a frame on average"
    ).replace("  ", " ")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _range(figures: Sequence[float]) -> str:
    return f"{figures[0]:g}" if figures[0] == figures[-1] else f"{figures[0]:g} to {figures[-1]:g}"


def _number(value: float) -> str:
    if value == 0:
        return "–"
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, soft_wrap=True, highlight=False, markup=False)
