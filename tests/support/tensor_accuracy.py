"""Made-up accuracy for tests: every tensor loses something under every lossy codec, and losses add up."""

from __future__ import annotations

from math import prod
from zlib import crc32

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.searching.search import lossy_codings


class TensorAccuracy:
    """Measures by what crosses, so that more tensors and more codings never lose less. Counts what it was asked."""

    def __init__(self, model: CostModel, seed: int, *, worst: float = 0.1) -> None:
        self._model, self._seed, self._worst = model, seed, worst
        self.measured: list[Candidate] = []

    def __call__(self, candidate: Candidate) -> MeasuredAccuracy:
        self.measured.append(candidate)
        return self.of(candidate)

    def of(self, candidate: Candidate) -> MeasuredAccuracy:
        graph = self._model.measurements.graph
        everything = frozenset(range(len(graph.operations)))
        kept = prod(
            1 - self._loss(graph.tensors[index].name, title)
            for before, title in lossy_codings(self._model, candidate)
            for index in Candidate(before, everything, (title, "raw")).assignment(graph).crossing(graph, 0)
        )
        return MeasuredAccuracy("made up", kept, kept, 1.0, 1 - kept, 1 - kept, frames=100)

    def _loss(self, tensor: str, title: str) -> float:
        return self._worst * (crc32(f"{self._seed} {tensor} {title}".encode()) % 1000) / 1000
