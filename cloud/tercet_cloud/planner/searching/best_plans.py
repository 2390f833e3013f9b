"""The best plan under every condition of a range, all of them measured to be accurate enough.

One cost model a state of the links, one solution for all deadlines that it keeps anyway. A plan that was measured
to be too inaccurate is excluded everywhere, and only the conditions that wanted it are solved again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from tercet.errors import SpecError
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.costs.conditions import Condition, ConditionRange, LinkCondition
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Topology
from tercet_cloud.planner.searching.accuracy_book import AccuracyBook
from tercet_cloud.planner.searching.menu_search import MenuSearch
from tercet_cloud.planner.searching.search import MeasureAccuracy

# So that a plan at its deadline, as a solver finds it, is in time.
_ROUNDING = 1e-6

ModelOf = Callable[[Topology], CostModel]
# A candidate and its value.
Best = tuple[Candidate, float] | None


class BestPlans:
    """`best` has a plan for every condition once `find` has returned; None where nothing keeps the constraints.

    Attributes:
        stopped: more measurements were wanted than allowed: what loses something and was not measured is left out.
        measure_s: time spent measuring accuracy.
    """

    def __init__(
        self,
        model_of: ModelOf,
        topology: Topology,
        conditions: ConditionRange,
        measure: MeasureAccuracy,
        max_measured: int,
    ) -> None:
        self._model_of = model_of
        self._topology = topology
        self._measure = measure
        self._models = {
            links: model_of(links.applied_to(topology)) for links in conditions.link_conditions(topology)
        }
        self.any_model = next(iter(self._models.values()))
        self.conditions = [
            Condition(links, deadline_ms)
            for links in self._models
            for deadline_ms in conditions.deadlines(topology)
        ]
        self.best: dict[Condition, Best] = {}
        self.book = AccuracyBook(self.any_model, self._timed, max_measured)
        self.stopped = False
        self.measure_s = 0.0
        codecs = self.any_model.measurements.coding.codecs
        self._lossless = [codec.title for codec in codecs if codec.lossless]
        self._searches: dict[Condition, MenuSearch] = {}
        self._accurate: list[Candidate] = []
        self._free: dict[LinkCondition, Best] = {}
        self._quickest_ms: dict[LinkCondition, float] = {}
        self._predictions: dict[tuple[LinkCondition, Candidate], Prediction | None] = {}

    def find(self) -> None:
        """Solve, measure what came out, and solve again where that was too inaccurate, until nothing is."""
        pending = self.conditions
        while pending:
            for condition in pending:
                self.best[condition] = self._best_under(condition)
            self.measure(best[0] for condition in pending if (best := self.best[condition]))
            pending = [
                condition
                for condition in pending
                if (best := self.best[condition]) is not None and not self.book.allows(best[0])
            ]

    def measure(self, candidates: Iterable[Candidate]) -> None:
        """Measure those that are not known yet, while any measurements are left."""
        for candidate in dict.fromkeys(candidates):
            if self.book.allows(candidate) is None and self.book.left > 0:
                self.book.measure(candidate)
                if self.book.allows(candidate):
                    self._accurate.append(candidate)

    def may_be_used(self, candidate: Candidate) -> bool:
        """Whether a candidate is accurate enough, or may still turn out to be."""
        allowed = self.book.allows(candidate)
        return self.book.left > 0 if allowed is None else allowed

    def value(self, condition: Condition, candidate: Candidate) -> float | None:
        """The objective of a candidate under a condition; None if it breaks a constraint, accuracy aside."""
        prediction = self._prediction(condition.links, candidate)
        if prediction is None or not _is_in_time(prediction, condition.deadline_ms):
            return None
        return self._models[condition.links].value(prediction)

    def _best_under(self, condition: Condition) -> Best:
        """Without the deadline first: a plan that keeps it anyway is found once for all deadlines."""
        links, deadline_ms = condition.links, condition.deadline_ms
        known = self._free.get(links)
        if links not in self._free or (known is not None and not self.may_be_used(known[0])):
            self._free[links] = known = self._solve(Condition(links, None))
        if known is None or self.value(condition, known[0]) is not None:
            return known
        if deadline_ms is not None and self._least_latency_ms(links, known[0]) > deadline_ms * (1 + _ROUNDING):
            return None
        return self._solve(condition)

    def _solve(self, condition: Condition) -> Best:
        if self.book.left <= 0 and not self.stopped:
            # From now on, what loses something and was not measured is out.
            self.stopped = True
            self._searches.clear()
        if condition not in self._searches:
            constraints = self._topology.constraints.model_copy(update={"deadline_ms": condition.deadline_ms})
            self._searches[condition] = MenuSearch(
                self._models[condition.links], constraints, self.book, self._lossless if self.stopped else None
            )
        known = [(plan, value) for plan in self._accurate if (value := self.value(condition, plan)) is not None]
        return self._searches[condition].best(known)

    def _least_latency_ms(self, links: LinkCondition, best: Candidate) -> float:
        """Of any plan, accurate or not; infinite if there is none. `best` is the best without a deadline."""
        if self._topology.objective == "latency":
            prediction = self._prediction(links, best)
            return prediction.latency_ms if prediction is not None else np.inf
        if links not in self._quickest_ms:
            quick = self._topology.model_copy(update={"objective": "latency"})
            free = self._topology.constraints.model_copy(update={"deadline_ms": None})
            found = MenuSearch(self._model_of(links.applied_to(quick)), free, self.book).best()
            self._quickest_ms[links] = found[1] if found else np.inf
        return self._quickest_ms[links]

    def _prediction(self, links: LinkCondition, candidate: Candidate) -> Prediction | None:
        """None if the candidate cannot be used under these links, whatever the deadline."""
        key = (links, candidate)
        if key not in self._predictions:
            model = self._models[links]
            free = self._topology.constraints.model_copy(update={"deadline_ms": None})
            try:
                found: Prediction | None = model.predict(candidate)
            except SpecError:
                found = None
            if found is not None and model.broken(found, candidate, free) is not None:
                found = None
            self._predictions[key] = found
        return self._predictions[key]

    def _timed(self, candidate: Candidate) -> MeasuredAccuracy:
        started = time.perf_counter()
        accuracy = self._measure(candidate)
        self.measure_s += time.perf_counter() - started
        return accuracy


def _is_in_time(prediction: Prediction, deadline_ms: float | None) -> bool:
    return deadline_ms is None or prediction.latency_ms <= deadline_ms * (1 + _ROUNDING)
