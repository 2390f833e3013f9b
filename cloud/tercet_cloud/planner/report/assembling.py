"""A finished search made into a report: rows, facts for the pictures, sentences. Pure but for what it is handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tercet.tiers import Tier
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.measuring.gathering import TierProfile, tensor_bytes
from tercet_cloud.planner.report.circumstances import constraint_texts, emulation_text, objective_text
from tercet_cloud.planner.report.explain import explain_plan
from tercet_cloud.planner.report.plan_report import CutPoint, DrawnOperation, MapCell, PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import Considered, SearchResult, lossy_codings, too_inaccurate

CHOSEN = "best"


@dataclass(frozen=True)
class Surroundings:
    """What is shown beside the chosen plan; empty where nobody asked for it."""

    baselines: Sequence[PlanRow] = ()
    curve: Sequence[CutPoint] = ()
    pareto: Sequence[PlanRow] = ()
    map_plans: Sequence[PlanRow] = ()
    map_cells: Sequence[MapCell] = ()


def assemble_report(
    model: CostModel,
    onnx: OnnxGraph,
    profiles: Mapping[Tier, TierProfile],
    result: SearchResult,
    around: Surroundings,
    circumstances: Sequence[str],
    memo: AccuracyMemo,
    lossless: MeasuredAccuracy,
) -> PlanReport:
    """The report.

    Args:
        memo: what was measured meanwhile; measures nothing here.
        lossless: the accuracy of every plan that loses nothing.
    """
    graph, topology = model.measurements.graph, model.topology
    rows = _Rows(model, memo, lossless)
    chosen = rows.row(CHOSEN, result.chosen)
    considered = tuple(rows.row(route_text(item.candidate, graph), item) for item in result.considered)
    runner_up = next(
        (row for row, item in zip(considered, result.considered, strict=True) if item is result.runner_up), None
    )
    baselines = tuple(rows.filled(row) for row in around.baselines)
    objective = objective_text(topology.objective)
    return PlanReport(
        model=model.measurements.coding.model,
        circumstances=tuple(circumstances),
        objective=objective,
        chosen=chosen,
        baselines=baselines,
        considered=considered,
        curve=tuple(around.curve),
        pareto=tuple(rows.filled(row) for row in around.pareto),
        map_plans=tuple(rows.filled(row) for row in around.map_plans),
        map_cells=tuple(around.map_cells),
        explanation=explain_plan(chosen, runner_up, considered, baselines, graph, objective),
        graph=graph,
        operations=_drawn_operations(model, onnx),
        tensor_bytes=tensor_bytes(model.measurements.coding),
        solve_ms=result.solve_ms,
        emulation=emulation_text(topology, profiles),
        constraints=constraint_texts(topology.constraints),
        coded_bytes=(
            _coded_bytes(model, chosen.candidate, graph, 0),
            _coded_bytes(model, chosen.candidate, graph, 1),
        ),
        stated_link=(topology.links.device_edge.up_mbps, topology.links.device_edge.round_trip_ms),
    )


class _Rows:
    def __init__(self, model: CostModel, memo: AccuracyMemo, lossless: MeasuredAccuracy) -> None:
        self._model, self._memo, self._lossless = model, memo, lossless

    def row(self, name: str, item: Considered) -> PlanRow:
        return self.filled(PlanRow(name, item.candidate, item.prediction, item.value, item.accuracy, item.broken))

    def filled(self, row: PlanRow) -> PlanRow:
        """With the accuracy as far as it is known by now."""
        if row.accuracy is not None:
            return row
        if not lossy_codings(self._model, row.candidate):
            return replace(row, accuracy=self._lossless)
        accuracy = self._memo.of(row.candidate)
        broken = row.broken or too_inaccurate(accuracy, self._model.topology.constraints)
        return replace(row, accuracy=accuracy, broken=broken)


def _drawn_operations(model: CostModel, onnx: OnnxGraph) -> tuple[DrawnOperation, ...]:
    """Times as the topology slows them down."""
    times_ms = model.tariff.op_ms
    return tuple(
        DrawnOperation(
            name=name,
            op_type=operation.node.op_type,
            tier_ms=(float(times_ms[0, index]), float(times_ms[1, index]), float(times_ms[2, index])),
            weights_bytes=int(model.measurements.weights_bytes[index]),
        )
        for index, (name, operation) in enumerate(
            zip(model.measurements.graph.operations, onnx.operations, strict=True)
        )
    )


def _coded_bytes(model: CostModel, candidate: Candidate, graph: CutGraph, link: int) -> dict[str, float]:
    sizes = model.measurements.coded[candidate.codecs[link]].bytes
    crossing = candidate.assignment(graph).crossing(graph, link)
    return {graph.tensors[index].name: float(sizes[index]) for index in crossing}
