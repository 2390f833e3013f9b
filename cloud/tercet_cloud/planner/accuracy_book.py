"""What was measured of accuracy so far, and which plans it rules out.

As in `search`: accuracy depends on nothing but the lossy codings on the way, and a coding that is too inaccurate
alone is not tried beside another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tercet_cloud.planner.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.cost_model import CostModel
from tercet_cloud.planner.exact import CutProblem
from tercet_cloud.planner.search import ROUNDING, Coding, Exclusion, Line, lossy_codings


class AccuracyBook:
    """Measures when asked, at most `left` more times; the same codings never twice."""

    def __init__(self, model: CostModel, measure: Callable[[Candidate], MeasuredAccuracy], most: int) -> None:
        self._model = model
        self._measure = measure
        self._allowed = model.topology.constraints.max_accuracy_drop
        self._known: dict[tuple[Coding, ...], MeasuredAccuracy] = {}
        self._too_lossy: set[tuple[Coding, ...]] = set()
        self.left = most

    @property
    def measured(self) -> int:
        return len(self._known)

    def accuracy(self, candidate: Candidate) -> MeasuredAccuracy | None:
        """None for a candidate that loses nothing, or was not measured."""
        return self._known.get(lossy_codings(self._model, candidate))

    def allows(self, candidate: Candidate) -> bool | None:
        """Whether a candidate keeps the accuracy constraint; None if that was not measured."""
        codings = lossy_codings(self._model, candidate)
        if codings in self._too_lossy or any((coding,) in self._too_lossy for coding in codings):
            return False
        return True if not codings or codings in self._known else None

    def measure(self, candidate: Candidate) -> None:
        """Measure a candidate; if it is too inaccurate and codes twice, each coding alone as well."""
        codings = lossy_codings(self._model, candidate)
        self._record(codings, candidate)
        if codings in self._too_lossy and len(codings) > 1:
            everything = frozenset(range(len(self._model.measurements.graph.operations)))
            for before, title in codings:
                if self.left and ((before, title),) not in self._known:
                    self._record(((before, title),), Candidate(before, everything, (title, "raw")))

    def narrowed(self, problem: CutProblem, line: Line) -> CutProblem:
        """The problem of a line without the cuts that are too inaccurate."""
        excluded = list[Exclusion]()
        for codings in sorted(self._too_lossy, key=lambda codings: [(len(cut), title) for cut, title in codings]):
            titles = tuple(title for _, title in codings)
            if titles == line.codecs and not line.passes:
                excluded.append((codings[0][0], codings[1][0]))
            elif len(codings) == 1:
                if titles[0] == line.codecs[0]:
                    excluded.append((codings[0][0], None))
                if titles[0] == line.codecs[1] and not line.passes:
                    excluded.append((None, codings[0][0]))
        return replace(problem, excluded=(*problem.excluded, *excluded))

    def _record(self, codings: tuple[Coding, ...], candidate: Candidate) -> None:
        self.left -= 1
        accuracy = self._known[codings] = self._measure(candidate)
        if self._allowed is not None and accuracy.drop_bound > self._allowed + ROUNDING:
            self._too_lossy.add(codings)
