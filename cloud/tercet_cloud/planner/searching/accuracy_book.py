"""What was measured of accuracy so far, and which plans it rules out.

As in `search`, accuracy depends on nothing but the lossy codings on the way, and no coding repairs another: what is
too inaccurate alone is not tried beside more. That goes for tensors too: where coding some was too inaccurate, they
are not coded so together with others. And a codec that fails wherever it is tried is given up after some time,
which is said: the table is then the best of what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.cuts.cut_graph import Mask
from tercet_cloud.planner.cuts.exact import CutProblem
from tercet_cloud.planner.searching.search import ROUNDING, Coding, Line, lossy_codings

# Places at which a codec, or two together, may fail before it is given up, unless it was good enough somewhere.
PATIENCE = 10

Titles = tuple[str, ...]
# Tensors that cross, and the codec they have.
Coded = tuple[frozenset[int], str]


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
        self._too_lossy: set[tuple[Coded, ...]] = set()
        self._barred: dict[str, Mask] = {}
        self._failures = Counter[Titles]()
        self._good = set[Titles]()
        self.left = most
        self.given_up = set[Titles]()

    @property
    def measured(self) -> int:
        return len(self._known)

    @property
    def page(self) -> int:
        """Another number whenever more has been ruled out."""
        return len(self._too_lossy)

    def accuracy(self, candidate: Candidate) -> MeasuredAccuracy | None:
        """None for a candidate that loses nothing, or was not measured."""
        return self._known.get(lossy_codings(self._model, candidate))

    def allows(self, candidate: Candidate) -> bool | None:
        """Whether a candidate keeps the accuracy constraint; None if that was not measured."""
        codings = lossy_codings(self._model, candidate)
        if codings in self._known:
            return not self._is_too_lossy(self._known[codings])
        titles = tuple(title for _, title in codings)
        if titles in self.given_up or any((title,) in self.given_up for title in titles):
            return False
        coded = tuple((self._crossing(before), title) for before, title in codings)
        if any(_holds(coded, worse) for worse in self._too_lossy):
            return False
        return None if codings else True

    def barred(self, title: str) -> Mask:
        """(tensors,) which a codec is too inaccurate for."""
        if (title,) in self.given_up:
            return np.ones(len(self._graph.tensors), bool)
        return self._barred.get(title, np.zeros(len(self._graph.tensors), bool))

    def gives_up(self, line: Line) -> bool:
        return any((title,) in self.given_up for title in line.codecs) or (
            not line.passes and line.codecs in self.given_up
        )

    def measure(self, candidate: Candidate) -> None:
        """Measure a candidate; if it is too inaccurate and codes twice, each coding alone as well."""
        codings = lossy_codings(self._model, candidate)
        self._record(codings, candidate)
        if len(codings) > 1 and self._is_too_lossy(self._known[codings]):
            for before, title in codings:
                if self.left and ((before, title),) not in self._known:
                    self._record(((before, title),), self._alone(before, title))

    def narrowed(self, problem: CutProblem, line: Line) -> CutProblem:
        """The problem of a line without the cuts that are too inaccurate."""
        barred = np.stack([self.barred(title) for title in line.codecs])
        if line.passes:
            barred[1] = False
        if problem.barred is not None:
            barred |= problem.barred
        together = []
        for coded in sorted(
            self._too_lossy, key=lambda coded: [(title, sorted(crossing)) for crossing, title in coded]
        ):
            # One coding may be on either link; with `passes` both links are cut as one.
            for links in ((0,), (1,)) if len(coded) == 1 else ((0, 1),):
                fits = all(line.codecs[link] == title for link, (_, title) in zip(links, coded, strict=True))
                if fits and not (line.passes and links != (0,)):
                    together.append(
                        frozenset(
                            (link, tensor)
                            for link, (crossing, _) in zip(links, coded, strict=True)
                            for tensor in crossing
                        )
                    )
        return replace(
            problem,
            barred=barred if barred.any() else None,
            not_together=(*problem.not_together, *(item for item in together if len(item) > 1)),
        )

    def _record(self, codings: tuple[Coding, ...], candidate: Candidate) -> None:
        self.left -= 1
        accuracy = self._known[codings] = self._measure(candidate)
        titles = tuple(title for _, title in codings)
        if not self._is_too_lossy(accuracy):
            self._good.add(titles)
            return
        coded = tuple((self._crossing(before), title) for before, title in codings)
        self._too_lossy.add(coded)
        if len(coded) == 1 and len(coded[0][0]) == 1:
            self._barred[titles[0]] = self.barred(titles[0]) | [
                index in coded[0][0] for index in range(len(self._graph.tensors))
            ]
        self._failures[titles] += 1
        if self._failures[titles] >= self._patience and titles not in self._good:
            self.given_up.add(titles)

    def _is_too_lossy(self, accuracy: MeasuredAccuracy) -> bool:
        return self._allowed is not None and accuracy.drop_bound > self._allowed + ROUNDING

    def _crossing(self, before: frozenset[int]) -> frozenset[int]:
        return frozenset(self._alone(before, "").assignment(self._graph).crossing(self._graph, 0))

    def _alone(self, before: frozenset[int], title: str) -> Candidate:
        """One coding and none other."""
        return Candidate(before, self._everything, (title, "raw"))


def _holds(coded: tuple[Coded, ...], worse: tuple[Coded, ...]) -> bool:
    """Whether all that is coded in `worse` is coded alike in `coded`, perhaps with more."""
    if len(worse) == 1:
        return any(_covers(one, worse[0]) for one in coded)
    return len(coded) == len(worse) and all(map(_covers, coded, worse))


def _covers(one: Coded, other: Coded) -> bool:
    return one[1] == other[1] and other[0] <= one[0]
