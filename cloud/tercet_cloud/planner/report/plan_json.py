"""A finished plan for machines: plan.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.report.plan_report import CutPoint, MapCell, PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text

FORMAT = 1


def report_json(report: PlanReport, further: Mapping[str, Any] | None = None) -> str:
    """Indented JSON that ends in a line break; keys carry units, as the dataclasses' do.

    Args:
        further: plain data to go beside the report's.
    """
    return json.dumps(report_dict(report) | dict(further or {}), indent=2, ensure_ascii=False) + "\n"


def report_dict(report: PlanReport) -> dict[str, Any]:
    """Plain data. Cuts are named by the tensors that cross; operations before a cut by how many there are."""
    graph = report.graph
    return {
        "format": FORMAT,
        "model": report.model,
        "objective": report.objective,
        "operations": len(graph.operations),
        "solve_ms": report.solve_ms,
        "circumstances": list(report.circumstances),
        "explanation": list(report.explanation),
        "chosen": _row(report.chosen, graph),
        "baselines": _rows(report.baselines, graph),
        "considered": _rows(report.considered, graph),
        "pareto": _rows(report.pareto, graph),
        "curve": [_point(point) for point in report.curve],
        "map": {
            "plans": _rows(report.map_plans, graph),
            "cells": [_cell(cell) for cell in report.map_cells],
        },
    }


def _rows(rows: Sequence[PlanRow], graph: CutGraph) -> list[dict[str, Any]]:
    return [_row(row, graph) for row in rows]


def _row(row: PlanRow, graph: CutGraph) -> dict[str, Any]:
    candidate = row.candidate
    assignment = candidate.assignment(graph)
    return {
        "name": row.name,
        "note": row.note,
        "route": route_text(candidate, graph),
        "operations": {
            "device": len(candidate.device),
            "edge": len(candidate.until_cloud) - len(candidate.device),
            "cloud": len(graph.operations) - len(candidate.until_cloud),
        },
        "links": {
            name: {"tensors": list(candidate.crossing(graph, link)), "codec": candidate.codecs[link]}
            for link, name in enumerate(("device_edge", "edge_cloud"))
            if assignment.uses(link)
        },
        "value": row.value,
        "prediction": {"latency_ms": row.prediction.latency_ms, **asdict(row.prediction)},
        "accuracy": asdict(row.accuracy) if row.accuracy else None,
        "broken": row.broken,
    }


def _point(point: CutPoint) -> dict[str, Any]:
    return {
        "boundary": list(point.boundary),
        "codecs": list(point.codecs),
        "latency_ms": point.prediction.latency_ms,
    }


def _cell(cell: MapCell) -> dict[str, Any]:
    return {
        "mbps": cell.mbps,
        "round_trip_ms": cell.round_trip_ms,
        "plan": cell.plan,
        "latency_ms": cell.latency_ms,
    }
