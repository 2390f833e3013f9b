"""The best plan over all codec pairs that keeps its constraints, accuracy included.

For each codec pair the exact best cut; best first, each is measured for accuracy until one keeps the constraint.
A cut whose accuracy is too low is excluded from its pair and the pair is solved again, so the result is the best
plan there is, not the best of a shortlist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tercet_cloud.planner.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.cost_model import CostModel

MeasureAccuracy = Callable[[Candidate], MeasuredAccuracy]


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
    """`chosen` keeps everything; `considered` are all others that were priced, best value first."""

    chosen: Considered
    considered: tuple[Considered, ...]
    solve_ms: float


def search_plan(model: CostModel, measure: MeasureAccuracy, *, max_measured: int = 64) -> SearchResult:
    """The best plan.

    Raises:
        InfeasibleError: nothing keeps the constraints; says which binds and how far it must be relaxed.
    """
    raise NotImplementedError
