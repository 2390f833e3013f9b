"""The codec menu of one cost model: what each codec costs by tensor and link, and programs that bound many at once.

Relaxed, every tensor may have the codec that suits it best: one program then bounds all pairs of a part of the menu
from below. Where one tensor crosses a link, as it mostly does, its optimum already is a plan. `menu_search` goes on
from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Constraints
from tercet_cloud.planner.cuts.cut_graph import Mask
from tercet_cloud.planner.cuts.exact import CutProblem
from tercet_cloud.planner.cuts.linear_cost import Float64Array, LinearCost
from tercet_cloud.planner.searching.search import Line, problem_of

# (tensors,) which a codec must not be used for, by its title.
Unfit = Callable[[str], Mask]


@dataclass(frozen=True)
class Part:
    """A part of the menu: titles by link. With `passes` the edge hands on, and the first ones are for both."""

    firsts: tuple[str, ...]
    seconds: tuple[str, ...]
    passes: bool = False

    @property
    def titles(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.firsts, self.seconds

    @property
    def line(self) -> Line | None:
        """The one line that is left, if it is one."""
        if len(self.firsts) > 1 or len(self.seconds) > 1:
            return None
        return Line((self.firsts[0], self.seconds[0]), self.passes)

    def lines(self) -> Iterator[Line]:
        if self.passes:
            yield from (Line((title, title), passes=True) for title in self.firsts)
        else:
            yield from (Line((first, second)) for first in self.firsts for second in self.seconds)

    def divided(self, link: int, title: str) -> tuple[Part, Part]:
        """With only this title on a link, and with all others."""
        return self._with(link, (title,)), self._with(
            link, tuple(other for other in self.titles[link] if other != title)
        )

    def _with(self, link: int, titles: tuple[str, ...]) -> Part:
        if self.passes:
            return Part(titles, titles, passes=True)
        return Part(titles, self.seconds) if link == 0 else Part(self.firsts, titles)


class Menu:
    """All codecs under one cost model and its constraints; what they cost is worked out once."""

    def __init__(self, model: CostModel, constraints: Constraints) -> None:
        self.model = model
        self.constraints = constraints
        self.graph = model.measurements.graph
        self.pairs = tuple(model.codec_pairs())
        self._own: dict[tuple[str, bool], CutProblem] = {}

    def crossing_prices(self, part: Part, link: int, crossing: tuple[int, ...], unfit: Unfit) -> Float64Array:
        """(titles, crossing): a tensor's share of the objective, stages included; infinite where impossible."""
        rows = []
        for title in part.titles[link]:
            problem = self._problem(title, part.passes)
            row: Float64Array = problem.additive.over_link[link, list(crossing)]
            for stage in problem.stages:
                row = row + stage.over_link[link, list(crossing)] * problem.stage_weight
            rows.append(np.where(self._impossible(title, part.passes, link, unfit)[list(crossing)], np.inf, row))
        return np.array(rows)

    def relaxed(self, part: Part, unfit: Unfit) -> CutProblem:
        """The problem in which every tensor has the codec that is best for it, by each kind of cost apart."""
        own = [[self._problem(title, part.passes) for title in titles] for titles in part.titles]
        barred = [
            np.array([self._impossible(title, part.passes, link, unfit) for title in titles])
            for link, titles in enumerate(part.titles)
        ]
        first = own[0][0]

        def least(kind: int) -> LinearCost:
            rows = []
            for link in (0, 1):
                prices = np.array([_kinds(problem)[kind].over_link[link] for problem in own[link]])
                prices = np.where(barred[link], np.inf, prices).min(axis=0)
                rows.append(np.where(np.isinf(prices), 0.0, prices))
            return replace(_kinds(first)[kind], over_link=np.stack(rows))

        stages = len(first.stages)

        return replace(
            first,
            additive=least(0),
            stages=tuple(least(1 + number) for number in range(stages)),
            limits=tuple(
                replace(limit, cost=least(1 + stages + number)) for number, limit in enumerate(first.limits)
            ),
            barred=np.stack([rows.all(axis=0) for rows in barred]),
            pinned=(None, first.pinned[1] if part.passes else None),
        )

    def _problem(self, title: str, passes: bool) -> CutProblem:
        """A codec's own problem, for its prices: the same codec on both links."""
        if (title, passes) not in self._own:
            self._own[title, passes] = problem_of(self.model, Line((title, title), passes), self.constraints)
        return self._own[title, passes]

    def _impossible(self, title: str, passes: bool, link: int, unfit: Unfit) -> Mask:
        """(tensors,) what may not cross; image codecs code only what the model is given."""
        barred = self._problem(title, passes).barred
        mask = np.zeros(len(self.graph.tensors), bool) if barred is None else barred[link].copy()
        if self.model.measurements.coding.codec(title).image:
            given = np.zeros(len(self.graph.tensors), bool)
            given[list(self.graph.inputs)] = True
            mask |= ~given
        # Where frames are handed on, nothing is cut at the second link.
        return mask if passes and link == 1 else mask | unfit(title)


def _kinds(problem: CutProblem) -> list[LinearCost]:
    """All that is priced: the additive cost, stages, limits."""
    return [problem.additive, *problem.stages, *(limit.cost for limit in problem.limits)]
