"""The best plan over all codec pairs that keeps its constraints, accuracy included.

For each codec pair the exact best cut; best first, each is measured for accuracy until one keeps the constraint.
A cut whose accuracy is too low is excluded from its pair and the pair is solved again, so the result is the best
plan there is, not the best of a shortlist. Pairs of one first codec are solved together as long as their bound is
all that is needed.

Two things are taken for granted, and both only spare measurements. Accuracy depends on nothing but the lossy
codings on the way (where, and by which codec), because cutting alone changes nothing. And a second lossy coding
does not repair the first: a coding that is too inaccurate alone is not tried again beside another.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints, Topology
from tercet_cloud.planner.cuts.cut_graph import Assignment
from tercet_cloud.planner.cuts.exact import CutProblem, Limit, solve_cuts
from tercet_cloud.planner.searching.codec_bound import freest_problem
from tercet_cloud.planner.searching.relaxation import raise_infeasible

MeasureAccuracy = Callable[[Candidate], MeasuredAccuracy]

Exclusion = tuple[frozenset[int] | None, frozenset[int] | None]
# A lossy coding: the operations before it, and the codec's title.
Coding = tuple[frozenset[int], str]

MAX_MEASURED = 64
# So that a drop of 1 - 0.98 is within 0.02.
ROUNDING = 1e-9
# How often a solution is looked at after one was chosen, to find the runner-up.
_PEEKS = 24
# Measurements for each constraint that might be relaxed.
_RELAXED_MEASURED = 8


@dataclass(frozen=True)
class Considered:
    """A candidate that the search came by, in order of its value; `accuracy` where it was measured."""

    candidate: Candidate
    prediction: Prediction
    value: float
    accuracy: MeasuredAccuracy | None
    broken: str | None


@dataclass(frozen=True)
class SearchResult:
    """`chosen` keeps everything; `considered` are all others that were priced, best value first.

    Attributes:
        runner_up: the best of `considered` that keeps everything too.
        solve_ms: time spent solving, measuring accuracy not included.
        measured: accuracy measurements made.
        stopped: `max_measured` was reached, so a better plan may be among those that were not measured.
    """

    chosen: Considered
    considered: tuple[Considered, ...]
    solve_ms: float
    runner_up: Considered | None = None
    measured: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Line:
    """A codec pair, or with `passes` one codec for both links where the edge only hands frames on."""

    codecs: tuple[str, str]
    passes: bool = False


# What is left of a line's problem, for planners that allow less; None for nothing.
Restrict = Callable[[Line, CutProblem], CutProblem | None]


def search_plan(
    model: CostModel,
    measure: MeasureAccuracy,
    *,
    max_measured: int = MAX_MEASURED,
    restrict: Restrict | None = None,
    runner_up: bool = True,
) -> SearchResult:
    """The best plan.

    Args:
        measure: called at most `max_measured` times, never for plans that lose nothing.
        restrict: if given, the best of what it leaves.
        runner_up: False if nobody asks for one: it costs solving and up to 4 measurements.
    Raises:
        InfeasibleError: nothing keeps the constraints; says which binds and how far it must be relaxed.
    """
    return _Search(model, measure, max_measured, restrict).run(runner_up=runner_up)


def all_lines(model: CostModel) -> list[Line]:
    """Every line worth solving."""
    pairs = model.codec_pairs()
    firsts = dict.fromkeys(first for first, _ in pairs)
    return [*(Line(pair) for pair in pairs), *(Line((title, title), passes=True) for title in firsts)]


def problem_of(model: CostModel, line: Line, constraints: Constraints) -> CutProblem:
    if line.passes:
        return model.pass_through_problem(line.codecs[0], constraints)
    return model.problem(line.codecs, constraints)


def lossy_codings(model: CostModel, candidate: Candidate) -> tuple[Coding, ...]:
    """What a candidate loses accuracy by, in the order of the data; () for a lossless one."""
    assignment = candidate.assignment(model.measurements.graph)
    codings = [
        (before, title)
        for link, before, title in zip(
            (0, 1), (candidate.device, candidate.until_cloud), candidate.codecs, strict=True
        )
        if assignment.uses(link) and not model.measurements.coding.codec(title).lossless
    ]
    handed_on = assignment.passes_edge and candidate.codecs[0] == candidate.codecs[1]
    return tuple(codings[:1] if handed_on else codings)


def too_inaccurate(accuracy: MeasuredAccuracy | None, constraints: Constraints) -> str | None:
    """Why an accuracy breaks the constraint, in words; None if it does not."""
    allowed = constraints.max_accuracy_drop
    if accuracy is None or allowed is None or accuracy.drop_bound <= allowed + ROUNDING:
        return None
    return f"accuracy drop up to {accuracy.drop_bound:.3f}, allowed {allowed:g}"


# Lines that differ in their second codec alone, with passes or without; or just one line.
Group = tuple[Line, ...]


class _Search:
    """One search. `_heap` holds groups by value: of one line its best cut that is not yet excluded, of several what
    bounds them (`codec_bound`).
    """

    def __init__(
        self, model: CostModel, measure: MeasureAccuracy, max_measured: int, restrict: Restrict | None
    ) -> None:
        self._model = model
        self._measure = measure
        self._left = max_measured
        self._constraints = model.topology.constraints
        self._heap: list[tuple[float, int, Group, Assignment]] = []
        self._order = itertools.count()
        self._restrict = restrict
        self._problems = {
            line: problem
            for line in all_lines(model)
            if (problem := self._restricted(line, self._constraints)) is not None
        }
        # Cuts taken out of a line: rejected together, or already dealt with.
        self._excluded: dict[Line, list[Exclusion]] = {}
        self._too_lossy: set[Coding] = set()
        self._accuracy: dict[tuple[Coding, ...], MeasuredAccuracy] = {}
        self._seen: dict[Candidate, Considered] = {}
        self._measured = 0
        self._stopped = False
        self._solve_s = 0.0

    def run(self, *, runner_up: bool) -> SearchResult:
        self._solve(self._groups())
        accepted = self._accepted()
        _, chosen = next(accepted, (0.0, None))
        if chosen is None:
            refused = [item.accuracy for item in self._seen.values() if item.accuracy and self._keeps_limits(item)]
            raise_infeasible(self._model.topology, self._limits(), refused, self._least)
        stopped = self._stopped
        # The runner-up is worth a few measurements, not as many as the plan itself.
        self._left = min(self._left, 4)
        second = next(accepted, (0.0, None))[1] if runner_up else None
        rest = [item for item in self._all_considered() if item.candidate != chosen.candidate]
        return SearchResult(
            chosen, tuple(rest), self._solve_s * 1e3, second, measured=self._measured, stopped=stopped
        )

    def _accepted(self) -> Iterator[tuple[float, Considered]]:
        """What is minimised, and a plan that keeps everything; best first.

        Ends when there are no more, or none that may be measured.
        """
        peeks = 0
        done = set[Candidate]()
        while self._heap and peeks < _PEEKS:
            value, _, group, assignment = heapq.heappop(self._heap)
            if len(group) > 1 and assignment.uses(1):
                self._solve([(line,) for line in group])
                continue
            candidate = self._candidate(group, assignment)
            codings = lossy_codings(self._model, candidate)
            if candidate not in done and not self._is_barred(codings):
                item = self._judge(candidate, codings)
                if item is None:
                    # Not to be measured any more; the lossless cuts of these lines come from lossless lines too.
                    continue
                if item.broken is None:
                    done.add(candidate)
                    yield value, item
            peeks += bool(done)
            beyond = None if group[0].passes else assignment.before(1)
            for line in group:
                self._excluded.setdefault(line, []).append((assignment.before(0), beyond))
            self._solve([group])

    def _judge(self, candidate: Candidate, codings: tuple[Coding, ...]) -> Considered | None:
        """The candidate with its accuracy; None if that would take one measurement too many."""
        if codings and codings not in self._accuracy:
            if not self._left:
                self._stopped = True
                self._consider(candidate, None)
                return None
            self._record(codings, candidate)
        accuracy = self._accuracy.get(codings)
        item = self._consider(candidate, accuracy)
        if item.broken is not None:
            self._blame(candidate, codings)
        return item

    def _record(self, codings: tuple[Coding, ...], candidate: Candidate) -> None:
        self._left -= 1
        self._measured += 1
        self._accuracy[codings] = self._measure(candidate)

    def _blame(self, candidate: Candidate, codings: tuple[Coding, ...]) -> None:
        """Find out whether one coding alone is too much: that rules out all plans that have it."""
        if len(codings) == 1:
            self._too_lossy.add(codings[0])
            return
        everything = frozenset(range(len(self._model.measurements.graph.operations)))
        for coding in codings:
            if (coding,) not in self._accuracy and self._left:
                before, title = coding
                self._record((coding,), Candidate(before, everything, (title, "raw")))
            alone = self._accuracy.get((coding,))
            if too_inaccurate(alone, self._constraints):
                self._too_lossy.add(coding)

    def _is_barred(self, codings: tuple[Coding, ...]) -> bool:
        return any(coding in self._too_lossy for coding in codings)

    def _consider(self, candidate: Candidate, accuracy: MeasuredAccuracy | None) -> Considered:
        known = self._seen.get(candidate)
        if known is not None and (known.accuracy is not None or accuracy is None):
            return known
        prediction = self._model.predict(candidate)
        broken = self._model.broken(prediction, candidate, self._constraints)
        broken = broken or too_inaccurate(accuracy, self._constraints)
        item = Considered(candidate, prediction, self._model.value(prediction), accuracy, broken)
        self._seen[candidate] = item
        return item

    def _all_considered(self) -> list[Considered]:
        for _, _, group, assignment in self._heap:
            if len(group) > 1 and assignment.uses(1):
                continue
            candidate = self._candidate(group, assignment)
            codings = lossy_codings(self._model, candidate)
            if not self._is_barred(codings):
                self._consider(candidate, self._accuracy.get(codings))
        return sorted(self._seen.values(), key=lambda item: item.value)

    def _groups(self) -> list[Group]:
        """Lines that can be bounded together, gathered."""
        groups: dict[object, list[Line]] = {}
        for line, problem in self._problems.items():
            groups.setdefault((line.codecs[0], line.passes, problem.pinned), []).append(line)
        return [tuple(lines) for lines in groups.values()]

    def _solve(self, groups: Sequence[Group]) -> None:
        started = time.perf_counter()
        solutions = solve_cuts([self._problem(group) for group in groups])
        self._solve_s += time.perf_counter() - started
        for group, solution in zip(groups, solutions, strict=True):
            if solution is not None:
                heapq.heappush(self._heap, (solution.value, next(self._order), group, solution.assignment))

    def _candidate(self, group: Group, assignment: Assignment) -> Candidate:
        return self._model.candidate_of(group[0].codecs, assignment, pass_through=group[0].passes)

    def _restricted(self, line: Line, constraints: Constraints) -> CutProblem | None:
        problem = problem_of(self._model, line, constraints)
        return self._restrict(line, problem) if self._restrict is not None else problem

    def _problem(self, group: Group) -> CutProblem:
        """Without the cuts that are known to be no good for any of the lines."""
        problem = freest_problem([self._problems[line] for line in group])
        shared = set.intersection(*(set(self._excluded.get(line, ())) for line in group))
        for before, title in self._too_lossy:
            if title == group[0].codecs[0]:
                shared.add((before, None))
            if len(group) == 1 and not group[0].passes and title == group[0].codecs[1]:
                shared.add((None, before))
        return replace(problem, excluded=(*problem.excluded, *sorted(shared, key=_in_order)))

    def _keeps_limits(self, item: Considered) -> bool:
        return self._model.broken(item.prediction, item.candidate, self._constraints) is None

    def _limits(self) -> list[Limit]:
        """One of each name."""
        limits = (limit for problem in self._problems.values() for limit in problem.limits)
        return list({limit.name: limit for limit in limits}.values())

    def _least(self, topology: Topology, limit: Limit | None) -> float | None:
        """The smallest value of what `limit` bounds, of all plans that keep `topology`'s constraints."""

        def by_quantity(line: Line, problem: CutProblem) -> CutProblem | None:
            left = self._restrict(line, problem) if self._restrict is not None else problem
            mine = self._problems.get(line)
            costs = [item.cost for item in mine.limits if limit and item.name == limit.name] if mine else []
            return left if left is None or not costs else replace(left, additive=costs[0], stages=())

        search = _Search(self._model.under(topology), self._measure, _RELAXED_MEASURED, by_quantity)
        search._solve(search._groups())
        return next((value for value, _ in search._accepted()), None)


def _in_order(cuts: Exclusion) -> tuple[object, ...]:
    """So that the same search is solved in the same way every time."""
    return tuple((cut is None, 0 if cut is None else len(cut), sorted(cut or ())) for cut in cuts)
