"""The plans that are measured under one condition: the planner's choice, and everything that might be better."""

from __future__ import annotations

from dataclasses import dataclass

from tercet.errors import SpecError
from tercet_cloud.planner.costs.candidate import Candidate, Prediction
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.cuts.linear_cost import Float64Array
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import SearchResult, too_inaccurate
from tercet_cloud.planner.views.baselines import baseline_rows

CHOSEN = "chosen"
# Beside the baselines: so many of the best plans of other codec pairs, and of a grid of cuts.
CODEC_PAIR_PLANS, GRID_PLANS = 8, 8
_GRID_CUTS = 6
# Nobody waits for these, and no deadline would.
SLOWEST_MS = 2500.0


@dataclass(frozen=True)
class PoolPlan:
    """A plan to measure.

    Attributes:
        roles: what it is: "chosen", a baseline's name, "codec pair", "grid".
        broken: which constraint it breaks, so that it does not count as an alternative.
    """

    candidate: Candidate
    prediction: Prediction
    roles: tuple[str, ...]
    broken: str | None

    @property
    def is_baseline(self) -> bool:
        return any(role not in (CHOSEN, "codec pair", "grid") for role in self.roles)


def plan_pool(model: CostModel, memo: AccuracyMemo, result: SearchResult) -> tuple[PoolPlan, ...]:
    """The pool of one condition, each candidate once, the chosen one first; nothing over SLOWEST_MS."""
    found: dict[Candidate, PoolPlan] = {}

    def add(candidate: Candidate, role: str, broken: str | None) -> None:
        known = found.get(candidate)
        if known is not None:
            found[candidate] = PoolPlan(candidate, known.prediction, (*known.roles, role), known.broken)
            return
        prediction = model.predict(candidate)
        if prediction.latency_ms <= SLOWEST_MS:
            found[candidate] = PoolPlan(candidate, prediction, (role,), broken)

    add(result.chosen.candidate, CHOSEN, None)
    for row in baseline_rows(model, memo):
        add(row.candidate, row.name, row.broken)
    for role, candidates, count in (
        ("codec pair", [item.candidate for item in result.considered if item.broken is None], CODEC_PAIR_PLANS),
        ("grid", grid_candidates(model), GRID_PLANS),
    ):
        added = 0
        for candidate in candidates:
            if added == count:
                break
            if candidate not in found and memo.allows(candidate, model.topology.constraints):
                add(candidate, role, _broken(model, memo, candidate))
                added += candidate in found
    return tuple(found.values())


def _broken(model: CostModel, memo: AccuracyMemo, candidate: Candidate) -> str | None:
    constraints = model.topology.constraints
    return model.broken(model.predict(candidate), candidate, constraints) or too_inaccurate(
        memo.of(candidate), constraints
    )


def grid_candidates(model: CostModel) -> list[Candidate]:
    """Pairs of cuts spread over the network's compute, each with its best codecs, best first."""
    cuts = grid_cuts(model)
    best: list[tuple[float, Candidate]] = []
    for first, device in enumerate(cuts):
        for until_cloud in cuts[first:]:
            priced = []
            for pair in model.codec_pairs():
                candidate = Candidate(device, until_cloud, pair)
                try:
                    priced.append((model.value(model.predict(candidate)), candidate))
                except SpecError:
                    continue
            if priced:
                best.append(min(priced, key=lambda item: item[0]))
    return [candidate for _, candidate in sorted(best, key=lambda item: item[0])]


def grid_cuts(model: CostModel) -> list[frozenset[int]]:
    """In each sixth of the compute, the place where one tensor crosses alone and is smallest."""
    measurements = model.measurements
    op_ms: Float64Array = measurements.op_ms[0]
    sizes = {tensor.name: index for index, tensor in enumerate(measurements.graph.tensors)}
    raw = model.tariff.coded("raw").bytes
    best: dict[int, tuple[float, frozenset[int]]] = {}
    for before in chain_cuts(measurements.graph)[1:-1]:
        names = Candidate(before, before, ("raw", "raw")).crossing(measurements.graph, 0)
        size = float(raw[sizes[names[0]]])
        part = min(_GRID_CUTS - 1, int(_GRID_CUTS * op_ms[list(before)].sum() / op_ms.sum()))
        # A tensor that cannot cross has no size.
        if size == size and (part not in best or size < best[part][0]):
            best[part] = (size, before)
    return [before for _, (_, before) in sorted(best.items())]
