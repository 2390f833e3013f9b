"""What was measured of accuracy so far, and which plans it rules out.

As in `search`, accuracy depends on nothing but the lossy codings on the way, and no coding repairs another: what is
too inaccurate alone is not tried beside more. That goes for tensors too: a codec that is too inaccurate for a
tensor that crosses alone is not used for it where others cross with it. And a codec that fails wherever it is tried
is given up after some time, which is said: the table is then the best of what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tercet_cloud.planner.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.cost_model import CostModel
from tercet_cloud.planner.cut_graph import Mask
from tercet_cloud.planner.exact import CutProblem
from tercet_cloud.planner.search import ROUNDING, Coding, Exclusion, Line, lossy_codings

# Places at which a codec, or two together, may fail before it is given up, unless it was good enough somewhere.
PATIENCE = 10

Titles = tuple[str, ...]


class AccuracyBook:
    """Measures when asked, at most `left` more times; the same codings never twice.

    Attributes:
        left: measurements that may still be made.
        given_up: codecs, alone or two on the same way, that are not tried any more.
    """

    def __init__(
        self,
        model: CostModel,
        measure: Callable[[Candidate], MeasuredAccuracy],
        most: int,
        *,
        patience: int = PATIENCE,
    ) -> None:
        self._model = model
        self._graph = model.measurements.graph
        self._everything = frozenset(range(len(self._graph.operations)))
        self._measure = measure
        self._allowed = model.topology.constraints.max_accuracy_drop
        self._patience = patience
        self._known: dict[tuple[Coding, ...], MeasuredAccuracy] = {}
        self._too_lossy: set[tuple[Coding, ...]] = set()
        self._barred: dict[str, Mask] = {}
        self._failures = Counter[Titles]()
        self._good = set[Titles]()
        self.left = most
        self.given_up = set[Titles]()

    @property
    def measured(self) -> int:
        return len(self._known)

    def accuracy(self, candidate: Candidate) -> MeasuredAccuracy | None:
        """None for a candidate that loses nothing, or was not measured."""
        return self._known.get(lossy_codings(self._model, candidate))

    def allows(self, candidate: Candidate) -> bool | None:
        """Whether a candidate keeps the accuracy constraint; None if that was not measured."""
        codings = lossy_codings(self._model, candidate)
        if codings in self._known:
            return codings not in self._too_lossy
        titles = tuple(title for _, title in codings)
        if titles in self.given_up or any(self._rules_out(coding) for coding in codings):
            return False
        return None if codings else True

    def barred(self, title: str) -> Mask:
        """(tensors,) which a codec is too inaccurate for."""
        return self._barred.get(title, np.zeros(len(self._graph.tensors), bool))

    def gives_up(self, line: Line) -> bool:
        return any((title,) in self.given_up for title in line.codecs) or (
            not line.passes and line.codecs in self.given_up
        )

    def measure(self, candidate: Candidate) -> None:
        """Measure a candidate; if it is too inaccurate and codes twice, each coding alone as well."""
        codings = lossy_codings(self._model, candidate)
        self._record(codings, candidate)
        if codings in self._too_lossy and len(codings) > 1:
            for before, title in codings:
                if self.left and ((before, title),) not in self._known:
                    self._record(((before, title),), self._alone(before, title))

    def narrowed(self, problem: CutProblem, line: Line) -> CutProblem:
        """The problem of a line without the cuts that are too inaccurate."""
        excluded = list[Exclusion]()
        for codings in sorted(self._too_lossy, key=lambda codings: [(len(cut), title) for cut, title in codings]):
            titles = tuple(title for _, title in codings)
            if len(codings) == 2 and titles == line.codecs and not line.passes:
                excluded.append((codings[0][0], codings[1][0]))
            elif len(codings) == 1 and len(self._crossing(codings[0][0])) > 1:
                if titles[0] == line.codecs[0]:
                    excluded.append((codings[0][0], None))
                if titles[0] == line.codecs[1] and not line.passes:
                    excluded.append((None, codings[0][0]))
        barred = np.stack([self.barred(title) for title in line.codecs])
        if line.passes:
            barred[1] = False
        if problem.barred is not None:
            barred |= problem.barred
        return replace(problem, excluded=(*problem.excluded, *excluded), barred=barred if barred.any() else None)

    def _rules_out(self, coding: Coding) -> bool:
        before, title = coding
        return (
            (coding,) in self._too_lossy
            or (title,) in self.given_up
            or bool(self.barred(title)[list(self._crossing(before))].any())
        )

    def _record(self, codings: tuple[Coding, ...], candidate: Candidate) -> None:
        self.left -= 1
        accuracy = self._known[codings] = self._measure(candidate)
        titles = tuple(title for _, title in codings)
        if self._allowed is None or accuracy.drop_bound <= self._allowed + ROUNDING:
            self._good.add(titles)
            return
        self._too_lossy.add(codings)
        if len(codings) == 1 and len(crossing := self._crossing(codings[0][0])) == 1:
            self._barred[titles[0]] = self.barred(titles[0]) | (np.arange(len(self._graph.tensors)) == crossing[0])
        self._failures[titles] += 1
        if self._failures[titles] >= self._patience and titles not in self._good:
            self.given_up.add(titles)

    def _crossing(self, before: frozenset[int]) -> tuple[int, ...]:
        return self._alone(before, "").assignment(self._graph).crossing(self._graph, 0)

    def _alone(self, before: frozenset[int], title: str) -> Candidate:
        """One coding and none other."""
        return Candidate(before, self._everything, (title, "raw"))
