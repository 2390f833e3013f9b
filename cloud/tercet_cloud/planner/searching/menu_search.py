"""The best cut and the best pair of codecs in one go, without solving every pair.

Parts of the menu are bounded by one relaxed program each (`menu`). The part with the best bound is looked at
first: its optimum with the cheapest codecs is a plan; if that meets the bound, it is the best. Otherwise the part
is divided at the codec that the plan would have, down to single pairs, which are solved exactly.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from tercet.errors import SpecError
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints
from tercet_cloud.planner.cuts.exact import CutSolution, solve_cuts
from tercet_cloud.planner.cuts.linear_cost import Float64Array
from tercet_cloud.planner.searching.accuracy_book import AccuracyBook
from tercet_cloud.planner.searching.menu import Menu, Part
from tercet_cloud.planner.searching.search import Line, problem_of

# A bound this near is met: HiGHS promises no more.
_MET = 1e-7

# A candidate and its value.
Priced = tuple[Candidate, float]


@dataclass(order=True)
class _Bounded:
    """A part of the menu: no plan in it is better than `bound`, as far as the book knew at `page`."""

    bound: float
    number: int
    part: Part = field(compare=False)
    solution: CutSolution = field(compare=False)
    page: int = field(compare=False)


class MenuSearch:
    """Finds the best plan; asked again after more was measured, it goes on from where it was.

    Args:
        titles: codecs to choose from; None for all that are worth solving.
    """

    def __init__(
        self,
        model: CostModel,
        constraints: Constraints,
        book: AccuracyBook,
        titles: Collection[str] | None = None,
    ) -> None:
        self._menu = Menu(model, constraints)
        self._model = model
        self._book = book
        pairs = [pair for pair in self._menu.pairs if titles is None or {*pair} <= {*titles}]
        self._pairs = frozenset(pairs)
        self._numbers = itertools.count()
        self._heap: list[_Bounded] = []
        self._plans: dict[Candidate, float] = {}
        firsts = tuple(dict.fromkeys(first for first, _ in pairs))
        seconds = tuple(dict.fromkeys(second for _, second in pairs))
        if pairs:
            self._push(Part(firsts, seconds))
            self._push(Part(firsts, firsts, passes=True))

    def best(self, known: Iterable[Priced] = ()) -> Priced | None:
        """The best plan that is not known to be too inaccurate, and its value; None if nothing keeps the limits.

        Args:
            known: plans that keep everything, from elsewhere; they spare looking at what is worse.
        """
        plans = [plan for plan in (*self._plans.items(), *known) if self._book.allows(plan[0]) is not False]
        found = min(plans, key=lambda plan: plan[1], default=None)
        looked_at: list[_Bounded] = []
        while self._heap and (found is None or self._heap[0].bound < found[1] - _MET * abs(found[1])):
            node = heapq.heappop(self._heap)
            line = self._line_at(node)
            plan = None if line is None else self._plan(line, node.solution)
            if plan is not None and (found is None or plan[1] < found[1]):
                found = plan
            if plan is not None and (node.part.line is not None or self._is_met(node, plan)):
                looked_at.append(node)
            elif node.page != self._book.page:
                self._push(node.part)
            elif node.part.line is None:
                for part in self._divided(node, line):
                    self._push(part)
        for node in looked_at:
            heapq.heappush(self._heap, node)
        return found

    def _is_met(self, node: _Bounded, plan: Priced) -> bool:
        return plan[1] <= node.bound + _MET * abs(node.bound)

    def _push(self, part: Part) -> None:
        if not any(self._is_open(line) for line in part.lines()):
            return
        line = part.line
        if line is None:
            problem = self._menu.relaxed(part, self._book.barred)
        else:
            problem = self._book.narrowed(problem_of(self._model, line, self._menu.constraints), line)
        solution = solve_cuts([problem])[0]
        if solution is not None:
            node = _Bounded(solution.value, next(self._numbers), part, solution, self._book.page)
            heapq.heappush(self._heap, node)

    def _is_open(self, line: Line) -> bool:
        return (line.passes or line.codecs in self._pairs) and not self._book.gives_up(line)

    def _plan(self, line: Line, solution: CutSolution) -> Priced | None:
        """The cut with these codecs; None if it breaks a constraint or is known to be too inaccurate."""
        candidate = self._model.candidate_of(line.codecs, solution, pass_through=line.passes)
        if self._book.allows(candidate) is False:
            return None
        if candidate not in self._plans:
            try:
                prediction = self._model.predict(candidate)
            except SpecError:
                return None
            if self._model.broken(prediction, candidate, self._menu.constraints) is not None:
                return None
            self._plans[candidate] = self._model.value(prediction)
        return candidate, self._plans[candidate]

    def _line_at(self, node: _Bounded) -> Line | None:
        """The codecs that are cheapest at a cut; None if none can code what crosses."""
        part = node.part
        if part.line is not None:
            return part.line if self._is_open(part.line) else None
        prices = [self._prices(node, link).sum(axis=1) for link in (0, 1)]
        if part.passes:
            prices[1] = np.zeros_like(prices[0])
        lines = list(part.lines())
        total = (prices[0] if part.passes else prices[0][:, None] + prices[1]).ravel()
        total[[not self._is_open(line) for line in lines]] = np.inf
        best = int(total.argmin())
        return lines[best] if np.isfinite(total[best]) else None

    def _divided(self, node: _Bounded, line: Line | None) -> tuple[Part, Part]:
        """Divide where one codec for all tensors costs most beside the best one for each."""
        titles = node.part.titles
        chosen = (titles[0][0], titles[1][0]) if line is None else line.codecs
        excess = []
        for link in (0, 1):
            prices = self._prices(node, link)
            more = prices[titles[link].index(chosen[link])].sum() - prices.min(axis=0).sum()
            excess.append(float(more) if len(titles[link]) > 1 else -1.0)
        link = int(np.argmax(excess))
        return node.part.divided(link, chosen[link])

    def _prices(self, node: _Bounded, link: int) -> Float64Array:
        crossing = node.solution.assignment.crossing(self._menu.graph, link)
        return self._menu.crossing_prices(node.part, link, crossing, self._book.barred)
