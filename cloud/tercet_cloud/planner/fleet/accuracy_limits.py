"""Which plans of a model are accurate enough, as far as measured: once for the model, shared by all its cohorts.

As everywhere in the planner, accuracy depends on lossy codings alone, and a second one does not repair the first. A
plan that was not measured yet counts as accurate enough: the fleet is planned, what it uses is measured, and what
turns out too inaccurate is planned around.
"""

from __future__ import annotations

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy
from tercet_cloud.planner.searching.search import ROUNDING, Coding, MeasureAccuracy

Codings = tuple[Coding, ...]


class AccuracyLimits:
    """One model's.

    Args:
        measure: called once for each way of coding.
        most: how often it may be called; after that, only what was measured is allowed, and what loses nothing.
        operations: of the model.
    """

    def __init__(self, measure: MeasureAccuracy, most: int, operations: int) -> None:
        self._measure = measure
        self._left = most
        self._everything = frozenset(range(operations))
        self._found: dict[Codings, MeasuredAccuracy] = {}

    @property
    def measured(self) -> int:
        return len(self._found)

    @property
    def spent(self) -> bool:
        """Whether no more may be measured, so that a better plan may be among those that were not."""
        return self._left <= 0

    def close(self) -> None:
        """Allow no more measurements."""
        self._left = 0

    def of(self, codings: Codings) -> MeasuredAccuracy | None:
        """What was measured; None for what was not, or loses nothing."""
        return self._found.get(codings)

    def allows(self, codings: Codings, max_drop: float | None) -> bool:
        """Whether plans with these codings may be used, for all that is known."""
        if not codings or max_drop is None:
            return True
        if any(self._breaks((coding,), max_drop) for coding in codings) or self._breaks(codings, max_drop):
            return False
        return codings in self._found or not self.spent

    def measure(self, candidate: Candidate, codings: Codings, max_drop: float | None) -> bool:
        """Whether the plan keeps the limit, measuring it if need be.

        Of two codings that break it together, each is measured alone as well: one that breaks it by itself rules
        out all plans that have it.
        """
        if not codings:
            return True
        if codings not in self._found:
            # Without a limit all that is used is measured: reports and deployments state it.
            if self.spent and max_drop is not None:
                return False
            self._record(candidate, codings)
        if max_drop is None or not self._breaks(codings, max_drop):
            return True
        for coding in codings if len(codings) > 1 else ():
            if (coding,) not in self._found and not self.spent:
                self._record(Candidate(coding[0], self._everything, (coding[1], "raw")), (coding,))
        return False

    def _record(self, candidate: Candidate, codings: Codings) -> None:
        self._left -= 1
        self._found[codings] = self._measure(candidate)

    def _breaks(self, codings: Codings, max_drop: float) -> bool:
        known = self._found.get(codings)
        return known is not None and known.drop_bound > max_drop + ROUNDING
