"""Candidates made into a deployment: the model sliced where they cut, and a plan of each for all tiers."""

from __future__ import annotations

from collections.abc import Mapping

from tercet.models.card import ModelCard
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan, PlanPrediction
from tercet_cloud.models.boundaries import boundary_of_nodes
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.narrow_calibration import narrowed_spec
from tercet_cloud.planner.report.plan_report import PlanRow


def deploy_plans(
    store: Store, card: ModelCard, graph: OnnxGraph, coding: CodingTable, plans: Mapping[str, PlanRow]
) -> Deployment:
    """Segments, manifest and calibrations are in the store afterwards; plans are named as the mapping's keys.

    Args:
        plans: by id; the first is what nodes take unless told otherwise.
    Raises:
        SpecError: cuts of two plans cross each other, so that no chain of segments has them both.
    """
    befores = {before for row in plans.values() for before in (row.candidate.device, row.candidate.until_cloud)}
    inner = sorted((before for before in befores if 0 < len(before) < len(graph.operations)), key=len)
    manifest, files = slice_model(graph, card.name, [boundary_of_nodes(graph, before) for before in inner])
    for data in files:
        store.add_segment(data)
    store.add_manifest(manifest)
    places = {frozenset[int](): 0, frozenset(range(len(graph.operations))): len(manifest.segments)}
    places |= {before: index for index, before in enumerate(inner, start=1)}
    deployment = Deployment(
        model=manifest.ref,
        plans=tuple(_plan(name, row, places, coding, manifest, store) for name, row in plans.items()),
    )
    deployment.check_against(manifest, card)
    return deployment


def _plan(
    name: str,
    row: PlanRow,
    places: Mapping[frozenset[int], int],
    coding: CodingTable,
    manifest: Manifest,
    store: Store,
) -> Plan:
    cuts = [places[before] for before in (row.candidate.device, row.candidate.until_cloud)]
    used = [cut < len(manifest.segments) for cut in cuts]
    first, second = (
        narrowed_spec(store, coding.codec(title).spec, manifest.boundaries[cut].names) if link_used else "raw"
        for title, cut, link_used in zip(row.candidate.codecs, cuts, used, strict=True)
    )
    return Plan(
        id=name,
        device_until=cuts[0],
        edge_until=cuts[1],
        codecs=LinkCodecs(device_edge=first, edge_cloud=second),
        predicted=_predicted(row, coding.answer_bytes if used[0] else 0.0),
    )


def _predicted(row: PlanRow, answer_bytes: float) -> PlanPrediction:
    found = row.prediction
    return PlanPrediction(
        device_ms=found.device_ms,
        edge_ms=found.edge_ms,
        cloud_ms=found.cloud_ms,
        device_edge_bytes=found.device_edge_bytes,
        edge_cloud_bytes=found.edge_cloud_bytes,
        answer_bytes=answer_bytes,
        agreement=row.accuracy.agreement if row.accuracy else 1.0,
    )
