"""Accuracies measured once for a model, a set of frames and a way of coding, kept in the store between plans."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tercet.documents import Document
from tercet_cloud.models.boundaries import boundary_of_nodes, start_of
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.accuracy import AccuracyMeter, lossy_codings
from tercet_cloud.planner.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.coding_table import CodingTable
from tercet_cloud.planner.measurement_cache import MeasurementCache


class KeptAccuracy(Document):
    """`MeasuredAccuracy` as a document."""

    metric: str
    agreement: float
    low: float
    high: float
    drop: float
    drop_bound: float
    frames: int
    labelled: tuple[float, float] | None = None


class AccuracyLedger(Document):
    """By way of coding: "TENSOR,TENSOR CODEC" for each place, joined by " → "."""

    ways: dict[str, KeptAccuracy] = {}


class AccuracyBook:
    """Measures what the store does not know yet.

    Attributes:
        measured: how many were measured here.
    """

    def __init__(
        self, meter: AccuracyMeter, cache: MeasurementCache, path: Path, graph: OnnxGraph, table: CodingTable
    ) -> None:
        self._meter, self._cache, self._path = meter, cache, path
        self._graph, self._table = graph, table
        ledger = cache.find(AccuracyLedger, path) or AccuracyLedger()
        self._ways = dict(ledger.ways)
        self.measured = 0

    def measure(self, candidate: Candidate) -> MeasuredAccuracy:
        way = self._way(candidate)
        if way not in self._ways:
            found = self._meter.measure(candidate)
            self._ways[way] = KeptAccuracy(**asdict(found))
            self.measured += 1
            self._cache.keep(AccuracyLedger(ways=self._ways), self._path)
        return MeasuredAccuracy(**self._ways[way].model_dump())

    def _way(self, candidate: Candidate) -> str:
        places = []
        for coding in lossy_codings(self._graph, self._table, candidate):
            cut = boundary_of_nodes(self._graph, coding.before) if coding.before else start_of(self._graph)
            places.append(f"{','.join(cut.tensors)} {coding.spec}")
        return " → ".join(places)
