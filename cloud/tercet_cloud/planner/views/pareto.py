"""Plans of which no other is both quicker and lighter on the device–edge link."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.views.baselines import plan_row
from tercet_cloud.planner.views.plan_pool import Allowed, PlanPool


def pareto_front(rows: Iterable[PlanRow]) -> tuple[PlanRow, ...]:
    """The rows that no other beats, quickest first; rows that break a constraint take no part."""
    front: list[PlanRow] = []
    kept = (row for row in rows if row.broken is None)
    for row in sorted(kept, key=lambda row: (row.prediction.latency_ms, row.prediction.device_edge_bytes)):
        if not front or row.prediction.device_edge_bytes < front[-1].prediction.device_edge_bytes:
            front.append(row)
    return tuple(front)


def pareto_rows(model: CostModel, memo: AccuracyMemo, pool: PlanPool, allowed: Allowed) -> tuple[PlanRow, ...]:
    """The front of a pool under the topology's own links, deadline and energy kept."""
    limits, link = model.topology.constraints, model.topology.links.device_edge
    heavy = np.zeros(len(pool), bool)
    if limits.max_device_energy_mj is not None:
        heavy = pool.device_energy_mj(link) > limits.max_device_energy_mj
    deadline_ms = np.inf if limits.deadline_ms is None else limits.deadline_ms
    while True:
        latencies = np.where(heavy, np.inf, pool.latencies_ms(link))
        front, least = [], np.inf
        for head in np.lexsort((pool.size_bytes, latencies)):
            if latencies[head] > deadline_ms or not np.isfinite(latencies[head]):
                break
            if pool.size_bytes[head] < least:
                least = pool.size_bytes[head]
                front.append(int(head))
        refused = [head for head in front if not allowed(pool.candidate(head))]
        if not refused:
            break
        for head in refused:
            pool.refuse(head)
    graph = model.measurements.graph
    candidates = [pool.candidate(head) for head in front]
    return pareto_front(plan_row(model, memo, route_text(item, graph), item, measure=False) for item in candidates)
