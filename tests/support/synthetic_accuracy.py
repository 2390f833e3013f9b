"""Accuracy without a network: seeded losses of every lossy coding."""

from __future__ import annotations

from math import prod
from zlib import crc32

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.searching.search import lossy_codings


class SyntheticAccuracy:
    """Every lossy coding loses something that hangs on place, codec and seed; together they lose more."""

    def __init__(self, model: CostModel, seed: int, *, worst: float = 0.1) -> None:
        self.model, self.seed, self.worst = model, seed, worst
        self.measured: list[Candidate] = []

    def __call__(self, candidate: Candidate) -> MeasuredAccuracy:
        self.measured.append(candidate)
        return self.of(candidate)

    def of(self, candidate: Candidate) -> MeasuredAccuracy:
        kept = prod(1 - self._loss(coding) for coding in lossy_codings(self.model, candidate))
        return MeasuredAccuracy("synthetic", kept, kept, 1.0, 1 - kept, 1 - kept, frames=100)

    def _loss(self, coding: tuple[frozenset[int], str]) -> float:
        text = f"{self.seed} {sorted(coding[0])} {coding[1]}"
        return self.worst * (crc32(text.encode()) % 1000) / 1000
