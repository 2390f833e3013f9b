"""The quickest plan at every speed and round trip of the device–edge link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, LinkSpec, Topology
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.cuts.exact import solve_cut
from tercet_cloud.planner.report.plan_report import MapCell, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.views.baselines import NO_LIMITS, plan_row
from tercet_cloud.planner.views.plan_pool import Allowed, PlanPool

MAP_MBPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
MAP_ROUND_TRIPS_MS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
# A cut that is better by less than this part changes no map.
_WORTH = 1e-6
_MOST_ROUNDS = 4


@dataclass(frozen=True)
class ConditionMap:
    """`cells` index `plans`, which are priced under the topology's own links."""

    plans: tuple[PlanRow, ...]
    cells: tuple[MapCell, ...]


def rich_pool(
    model: CostModel, candidates: Iterable[Candidate], allowed: Allowed, speeds_mbps: Sequence[float] = MAP_MBPS
) -> PlanPool:
    """A pool with all cuts of the chain, those of the candidates, and what the exact planner adds at any speed.

    On a chain this holds every cut there is, so the best of the pool is the best plan. On other graphs the winner
    of every speed is held against the exact best cut of its own codec pair; a better one joins, until none does.
    What could still be missed is a cut off the chain under a codec pair that wins nowhere on it.
    """
    cuts = {*chain_cuts(model.measurements.graph)}
    cuts |= {cut for candidate in candidates for cut in (candidate.device, candidate.until_cloud)}
    limits = model.topology.constraints
    kept = NO_LIMITS.model_copy(
        update={"private_input": limits.private_input, "max_device_memory_mb": limits.max_device_memory_mb}
    )
    asked = set[tuple[float, tuple[str, str], bool]]()
    for _ in range(_MOST_ROUNDS):
        pool = PlanPool(model, cuts)
        found = set[frozenset[int]]()
        for speed in speeds_mbps:
            topology = _with_link(model.topology, link_at(model.topology, speed, 0.0))
            head = pool.quickest(topology.links.device_edge, allowed)
            if head is None:
                continue
            best = pool.candidate(head)
            passes = best.assignment(model.measurements.graph).passes_edge and best.codecs[0] == best.codecs[1]
            if (speed, best.codecs, passes) in asked:
                continue
            asked.add((speed, best.codecs, passes))
            better = _exact(model.under(topology), best, passes, kept)
            if better is not None and allowed(better):
                found |= {better.device, better.until_cloud}
        if found <= cuts:
            return pool
        cuts |= found
    return PlanPool(model, cuts)


def condition_map(
    model: CostModel,
    memo: AccuracyMemo,
    pool: PlanPool,
    allowed: Allowed,
    *,
    speeds_mbps: Sequence[float] = MAP_MBPS,
    round_trips_ms: Sequence[float] = MAP_ROUND_TRIPS_MS,
) -> ConditionMap:
    """Every cell by pricing the whole pool under its link. Deadline and energy do not bind here; the ratio of the
    link's speeds up and down stays as the topology has it.
    """
    places: dict[Candidate, int] = {}
    cells = []
    for speed in speeds_mbps:
        for round_trip in round_trips_ms:
            link = link_at(model.topology, speed, round_trip)
            head = pool.quickest(link, allowed)
            if head is not None:
                plan = places.setdefault(pool.candidate(head), len(places))
                cells.append(MapCell(speed, round_trip, plan, float(pool.latencies_ms(link)[head])))
    graph = model.measurements.graph
    return ConditionMap(
        tuple(plan_row(model, memo, route_text(item, graph), item, measure=False) for item in places), tuple(cells)
    )


def link_at(topology: Topology, mbps: float, round_trip_ms: float) -> LinkSpec:
    """The device–edge link at another speed and round trip, all else as it is."""
    link = topology.links.device_edge
    down_mbps = mbps * link.down_mbps / link.up_mbps
    return link.model_copy(update={"up_mbps": mbps, "down_mbps": down_mbps, "round_trip_ms": round_trip_ms})


def _exact(model: CostModel, best: Candidate, passes: bool, kept: Constraints) -> Candidate | None:
    """The exact best cut for the codecs of `best`; None if it is no better."""
    problem = model.pass_through_problem(best.codecs[0], kept) if passes else model.problem(best.codecs, kept)
    found = model.candidate_of(best.codecs, solve_cut(problem), pass_through=passes)
    gain = model.predict(best).latency_ms - model.predict(found).latency_ms
    return found if gain > _WORTH * model.predict(best).latency_ms else None


def _with_link(topology: Topology, link: LinkSpec) -> Topology:
    links = topology.links.model_copy(update={"device_edge": link})
    return topology.model_copy(update={"links": links, "objective": "latency"})
