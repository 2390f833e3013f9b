"""The best cut and the best pair of codecs in one go, without solving every pair.

Relaxed, every tensor may have the codec that suits it best: one program then bounds all pairs of the menu from
below, and where one tensor crosses a link, as it mostly does, its optimum already is a plan. Where it is none, the
menu is divided at the codec that the plan would have, best bound first, down to single pairs, solved exactly.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tercet.errors import SpecError
from tercet_cloud.planner.accuracy_book import AccuracyBook
from tercet_cloud.planner.candidate import Candidate
from tercet_cloud.planner.cost_model import CostModel
from tercet_cloud.planner.cut_graph import Mask
from tercet_cloud.planner.exact import CutProblem, CutSolution, solve_cuts
from tercet_cloud.planner.linear_cost import Float64Array, LinearCost
from tercet_cloud.planner.search import Line, problem_of
from tercet_cloud.planner.topology import Constraints

# A bound this near is met: HiGHS promises no more.
_MET = 1e-7


@dataclass(frozen=True)
class Part:
    """A part of the menu: titles allowed on each link; with `passes` the edge hands on, `firsts` are for both."""

    firsts: tuple[str, ...]
    seconds: tuple[str, ...]
    passes: bool = False

    @property
    def line(self) -> Line | None:
        """The one line that is left, if it is one."""
        if len(self.firsts) > 1 or (len(self.seconds) > 1 and not self.passes):
            return None
        return Line((self.firsts[0], self.firsts[0] if self.passes else self.seconds[0]), self.passes)

    def divided(self, link: int, title: str) -> Iterator[Part]:
        """With only this title on a link, and with all others."""
        titles = (self.firsts, self.seconds)[link]
        rest = tuple(other for other in titles if other != title)
        for part in ((title,), rest):
            yield replace(self, firsts=part) if link == 0 else replace(self, seconds=part)


class Menu:
    """All codecs under one cost model and its constraints; what they cost is worked out once, for any search."""

    def __init__(self, model: CostModel, constraints: Constraints) -> None:
        self.model = model
        self.constraints = constraints
        self.graph = model.measurements.graph
        self.pairs = tuple(model.codec_pairs())
        self._own: dict[tuple[str, bool], CutProblem] = {}
        given = np.zeros(len(self.graph.tensors), bool)
        given[list(self.graph.inputs)] = True
        self._given = given

    def best(self, book: AccuracyBook, titles: Collection[str] | None = None) -> tuple[Candidate, float] | None:
        """The best candidate not known to be too inaccurate, and its value; None if nothing keeps the limits.

        Args:
            titles: codecs to choose from; None for all that are worth solving.
        """
        return _MenuSearch(self, book, titles).best()

    def own(self, title: str, passes: bool) -> CutProblem:
        """A codec's own problem, for its prices: the same codec on both links."""
        if (title, passes) not in self._own:
            self._own[title, passes] = problem_of(self.model, Line((title, title), passes), self.constraints)
        return self._own[title, passes]

    def impossible(self, title: str, passes: bool, link: int) -> Mask:
        """(tensors,) what may not cross; image codecs code only what the model is given."""
        barred = self.own(title, passes).barred
        mask = np.zeros(len(self.graph.tensors), bool) if barred is None else barred[link]
        return mask | ~self._given if self.model.measurements.coding.codec(title).image else mask


class _MenuSearch:
    """One search, and the best it has found so far. `_heap` holds parts of the menu with what bounds them."""

    def __init__(self, menu: Menu, book: AccuracyBook, titles: Collection[str] | None) -> None:
        self._menu = menu
        self._model = menu.model
        self._book = book
        pairs = [pair for pair in menu.pairs if titles is None or (pair[0] in titles and pair[1] in titles)]
        self._pairs = {pair for pair in pairs if not book.gives_up(Line(pair))}
        # A codec that is given up beside itself may still do where frames are handed on.
        self._passing = tuple(
            title
            for title in dict.fromkeys(first for first, _ in pairs)
            if not book.gives_up(Line((title, title), passes=True))
        )
        self._heap: list[tuple[float, int, Part, CutSolution]] = []
        self._order = itertools.count()
        self._found: tuple[Candidate, float] | None = None

    def best(self) -> tuple[Candidate, float] | None:
        firsts = tuple(dict.fromkeys(first for first, _ in sorted(self._pairs)))
        seconds = tuple(dict.fromkeys(second for _, second in sorted(self._pairs)))
        if self._passing:
            self._push(Part(self._passing, self._passing, passes=True))
        if firsts:
            self._push(Part(firsts, seconds))
        while self._heap:
            bound, _, part, solution = heapq.heappop(self._heap)
            if not self._may_improve(bound):
                break
            line = part.line or self._line_at(part, solution)
            if line is not None:
                self._propose(line, solution)
            if part.line is None and self._may_improve(bound):
                for smaller in self._divided(part, solution, line):
                    self._push(smaller)
        return self._found

    def _may_improve(self, bound: float) -> bool:
        return self._found is None or bound < self._found[1] - _MET * abs(self._found[1])

    def _push(self, part: Part) -> None:
        line = part.line
        if line is not None:
            if not line.passes and line.codecs not in self._pairs:
                return
            problem = self._book.narrowed(problem_of(self._model, line, self._menu.constraints), line)
        elif not part.passes and not any(pair in self._pairs for pair in itertools.product(*self._titles(part))):
            return
        else:
            problem = self._relaxed(part)
        solution = solve_cuts([problem])[0]
        if solution is not None and self._may_improve(solution.value):
            heapq.heappush(self._heap, (solution.value, next(self._order), part, solution))

    def _titles(self, part: Part) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return part.firsts, part.seconds

    def _propose(self, line: Line, solution: CutSolution) -> None:
        """Take the cut with these codecs as the best so far, if it is."""
        candidate = self._model.candidate_of(line.codecs, solution, pass_through=line.passes)
        if self._book.allows(candidate) is False:
            return
        try:
            prediction = self._model.predict(candidate)
        except SpecError:
            return
        if self._model.broken(prediction, candidate, self._menu.constraints) is None:
            value = self._model.value(prediction)
            if self._found is None or value < self._found[1]:
                self._found = (candidate, value)

    def _line_at(self, part: Part, solution: CutSolution) -> Line | None:
        """The codecs that are cheapest at a cut; None if none can code what crosses."""
        prices = [self._crossing_prices(part, link, solution).sum(axis=1) for link in (0, 1)]
        if part.passes:
            best = int(prices[0].argmin())
            return Line((part.firsts[best],) * 2, passes=True) if np.isfinite(prices[0][best]) else None
        listed = np.array([[(one, two) in self._pairs for two in part.seconds] for one in part.firsts])
        total = np.where(listed, prices[0][:, None] + prices[1], np.inf)
        first, second = np.unravel_index(int(total.argmin()), total.shape)
        if not np.isfinite(total[first, second]):
            return None
        return Line((part.firsts[first], part.seconds[second]))

    def _divided(self, part: Part, solution: CutSolution, line: Line | None) -> Iterator[Part]:
        """Divide where one codec for all tensors costs most beside the best one for each."""
        titles = self._titles(part)
        excess = []
        for link in (0, 1):
            splittable = len(titles[link]) > 1 and not (part.passes and link == 1)
            prices = self._crossing_prices(part, link, solution)
            least = prices.min(axis=0).sum()
            chosen = titles[link].index(line.codecs[link]) if line is not None else 0
            excess.append(float(prices[chosen].sum() - least) if splittable else -1.0)
        link = int(np.argmax(excess))
        yield from part.divided(link, line.codecs[link] if line is not None else titles[link][0])

    def _crossing_prices(self, part: Part, link: int, solution: CutSolution) -> Float64Array:
        """(titles, crossing tensors): what each would cost, infinite where a codec cannot code it."""
        titles = self._titles(part)[link]
        crossing = list(solution.assignment.crossing(self._menu.graph, link))
        return np.array([self._price(title, part.passes, link)[crossing] for title in titles])

    def _price(self, title: str, passes: bool, link: int) -> Float64Array:
        """(tensors,) the objective's share of a tensor on a link, stages included; infinite where impossible."""
        problem = self._menu.own(title, passes)
        price: Float64Array = problem.additive.over_link[link].copy()
        for stage in problem.stages:
            price += stage.over_link[link] * problem.stage_weight
        price[self._impossible(title, passes, link)] = np.inf
        return price

    def _impossible(self, title: str, passes: bool, link: int) -> Mask:
        """(tensors,) what may not cross, or not accurately."""
        mask = self._menu.impossible(title, passes, link)
        # Where frames are handed on, nothing is cut at the second link.
        return mask if passes and link == 1 else mask | self._book.barred(title)

    def _relaxed(self, part: Part) -> CutProblem:
        """The problem in which every tensor has the codec that is best for it, by each kind of cost apart."""
        own = [[self._menu.own(title, part.passes) for title in titles] for titles in self._titles(part)]
        barred = [
            np.array([self._impossible(title, part.passes, link) for title in titles])
            for link, titles in enumerate(self._titles(part))
        ]
        if part.passes:
            own[1], barred[1] = own[0], np.zeros_like(barred[0])
        first = own[0][0]

        def least(costs: list[list[LinearCost]]) -> LinearCost:
            rows = []
            for link in (0, 1):
                prices = np.array([cost.over_link[link] for cost in costs[link]])
                prices = np.where(barred[link], np.inf, prices).min(axis=0)
                rows.append(np.where(np.isinf(prices), 0.0, prices))
            return replace(costs[0][0], over_link=np.stack(rows))

        return replace(
            first,
            additive=least([[problem.additive for problem in problems] for problems in own]),
            stages=tuple(
                least([[problem.stages[number] for problem in problems] for problems in own])
                for number in range(len(first.stages))
            ),
            limits=tuple(
                replace(
                    limit, cost=least([[problem.limits[number].cost for problem in problems] for problems in own])
                )
                for number, limit in enumerate(first.limits)
            ),
            barred=np.stack([rows.all(axis=0) for rows in barred]),
            pinned=(None, first.pinned[1] if part.passes else None),
        )
