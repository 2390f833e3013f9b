"""Accuracy measured once for every way of losing some, however many plans share it."""

from __future__ import annotations

from collections.abc import Iterable

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints
from tercet_cloud.planner.searching.search import Coding, Considered, MeasureAccuracy, lossy_codings, too_inaccurate


class AccuracyMemo:
    """A `MeasureAccuracy` that remembers, for one model under any topology; and what a constraint says of plans.

    As the search does, it takes for granted that accuracy depends on lossy codings alone, and that a second one
    does not repair the first.

    Args:
        measure: called once for each way of coding.
        budget: how often `allows` may measure; what was not measured by then is not allowed. Plain calls are
            remembered but not counted.
        known: candidates whose accuracy a search has measured already.
    """

    def __init__(
        self, model: CostModel, measure: MeasureAccuracy, *, budget: int = 0, known: Iterable[Considered] = ()
    ) -> None:
        self._model = model
        self._measure = measure
        self._budget = budget
        self._found: dict[tuple[Coding, ...], MeasuredAccuracy] = {}
        for item in known:
            if item.accuracy is not None:
                self._found[lossy_codings(model, item.candidate)] = item.accuracy

    def __call__(self, candidate: Candidate) -> MeasuredAccuracy:
        codings = lossy_codings(self._model, candidate)
        if codings not in self._found:
            self._found[codings] = self._measure(candidate)
        return self._found[codings]

    def of(self, candidate: Candidate) -> MeasuredAccuracy | None:
        """What is known without measuring; None for a candidate that loses nothing, too."""
        return self._found.get(lossy_codings(self._model, candidate))

    def measured(self, candidate: Candidate) -> MeasuredAccuracy | None:
        """The accuracy, measured if need be; None for a candidate that loses nothing."""
        return self(candidate) if lossy_codings(self._model, candidate) else None

    def allows(self, candidate: Candidate, constraints: Constraints) -> bool:
        """Whether a candidate is known to keep the accuracy, measuring as far as the budget goes."""
        codings = lossy_codings(self._model, candidate)
        if not codings or constraints.max_accuracy_drop is None:
            return True
        if any(too_inaccurate(self._found.get((coding,)), constraints) for coding in codings):
            return False
        if codings not in self._found:
            if not self._budget:
                return False
            self._budget -= 1
        return not too_inaccurate(self(candidate), constraints)

    def presumes(self, candidate: Candidate, constraints: Constraints) -> bool:
        """Whether a candidate may well keep the accuracy, nothing being measured: each of its lossy codecs was
        accurate enough at some place, and not too inaccurate at this one. For views that say so.
        """
        codings = lossy_codings(self._model, candidate)
        good = {
            title
            for known, accuracy in self._found.items()
            if not too_inaccurate(accuracy, constraints)
            for _, title in known
        }
        return all(
            title in good and not too_inaccurate(self._found.get(((before, title),)), constraints)
            for before, title in codings
        )
