"""Latency by where the device stops: for every place of the chain the best that the rest can do."""

from __future__ import annotations

from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.report.plan_report import CutPoint
from tercet_cloud.planner.views.plan_pool import Allowed, PlanPool


def cut_curve(model: CostModel, pool: PlanPool, allowed: Allowed) -> tuple[CutPoint, ...]:
    """In data-flow order from sending the input to computing all on the device; places that cannot be are left out.

    Args:
        pool: holds the cuts of the chain.
    """
    graph = model.measurements.graph
    outputs = tuple(tensor.name for tensor in graph.tensors if tensor.is_output)
    points = []
    for cut in chain_cuts(graph):
        head = pool.quickest(model.topology.links.device_edge, allowed, pool.at_cut(cut))
        if head is not None:
            candidate = pool.candidate(head)
            boundary = candidate.crossing(graph, 0) or outputs
            points.append(CutPoint(boundary, model.predict(candidate), candidate.codecs))
    return tuple(points)
