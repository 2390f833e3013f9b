"""The plans of one model that some cohort may want: cuts that are best at some prices, with codecs that may pay.

What a shared resource is worth is not known before the fleet is planned, so the exact best cuts are collected over
a grid of prices on edge, cloud, uplink and edge's memory, and over the slowest, middle and fastest links of the
cohorts. What is between them, for cohorts with deadlines and other limits of their own, are the narrowing cuts:
those where less crosses than anywhere before. All nested pairs of these cuts with all codec pairs are the pool;
plans that another one beats in every respect are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import CostModel, ModelMeasurements
from tercet_cloud.planner.costs.frame_costs import MEGA, CodedTensors
from tercet_cloud.planner.costs.topology import Constraints, Links, LinkSpec, Topology
from tercet_cloud.planner.cuts.cut_graph import Assignment
from tercet_cloud.planner.cuts.exact import CutProblem, solve_cuts
from tercet_cloud.planner.fleet.fleet_problem import Float64Array
from tercet_cloud.planner.searching.search import Coding, Line, lossy_codings, problem_of

Cut = frozenset[int]
Mask = npt.NDArray[np.bool_]
MayUse = Callable[[tuple[Coding, ...]], bool]

# Of edge's time, cloud's time, uplink and edge's memory.
Prices = tuple[float, float, float, float]
# In parts of the objective's optimum, for the whole model there.
_PRICES: tuple[Prices, ...] = (
    (0.5, 0.0, 0.0, 0.0),
    (5.0, 0.0, 0.0, 0.0),
    (0.0, 0.5, 0.0, 0.0),
    (0.0, 0.0, 0.5, 0.0),
    (0.0, 0.0, 5.0, 0.0),
    (5.0, 5.0, 0.0, 0.0),
    (0.5, 0.5, 0.5, 0.0),
)
# For edges that cannot hold the whole model.
_MEMORY_PRICES: tuple[Prices, ...] = tuple((0.0, 0.0, 0.0, price) for price in (0.5, 0.8, 1.1, 1.5, 2.5, 5.0))
_NO_LIMITS = Constraints(max_accuracy_drop=None)


@dataclass(frozen=True)
class PlanPool:
    """Plans as figures of one frame, before any slow-down, so that a cohort's costs are weighted sums of them.

    Attributes:
        tier_ms: (3, plans) busy with a frame, coding included.
        link_bytes: (2, plans); `crosses`: (2, plans) whether the link is used.
        device_memory_mb: (plans,); `edge_weights_mb`: (plans,) weights of what the edge computes.
        leaves_raw: (plans,) whether a model's input crosses to the edge.
        codings: the lossy codings of each, which its accuracy depends on.
    """

    measurements: ModelMeasurements
    candidates: tuple[Candidate, ...]
    tier_ms: Float64Array
    link_bytes: Float64Array
    crosses: Mask
    device_memory_mb: Float64Array
    edge_weights_mb: Float64Array
    leaves_raw: Mask
    codings: tuple[tuple[Coding, ...], ...]

    def only(self, kept: npt.NDArray[np.intp]) -> PlanPool:
        return replace(
            self,
            candidates=tuple(self.candidates[index] for index in kept),
            tier_ms=self.tier_ms[:, kept],
            link_bytes=self.link_bytes[:, kept],
            crosses=self.crosses[:, kept],
            device_memory_mb=self.device_memory_mb[kept],
            edge_weights_mb=self.edge_weights_mb[kept],
            leaves_raw=self.leaves_raw[kept],
            codings=tuple(self.codings[index] for index in kept),
        )


def worthwhile_cuts(
    measurements: ModelMeasurements, topologies: Sequence[Topology], *, memory_short: bool = False
) -> tuple[Cut, ...]:
    """Every cut that is exactly best for one of the links at some price, smallest first; all and nothing included.

    And the narrowing ones.

    Args:
        memory_short: whether some edge cannot hold the whole model, so that memory has its price as well.
    """
    grid = (*_PRICES, *(_MEMORY_PRICES if memory_short else ()))
    found = {*narrowing_cuts(measurements), frozenset(range(len(measurements.graph.operations)))}
    for topology in topologies:
        model = CostModel(measurements, topology.model_copy(update={"constraints": _NO_LIMITS}))
        lines = [line for line in _lines(model) if None in _problem(model, line).pinned]
        plain = solve_cuts([_problem(model, line) for line in lines])
        optimum = min(solution.value for solution in plain if solution is not None)
        priced = [(line, prices) for line in lines for prices in grid]
        solved = solve_cuts([_priced(model, line, prices, optimum) for line, prices in priced])
        for line, solution in zip([*lines, *(line for line, _ in priced)], [*plain, *solved], strict=True):
            if solution is not None:
                found.add(solution.assignment.before(0))
                if not line.passes:
                    found.add(solution.assignment.before(1))
    return tuple(sorted(found, key=lambda cut: (len(cut), sorted(cut))))


def narrowing_cuts(measurements: ModelMeasurements) -> tuple[Cut, ...]:
    """Along the order of operations, the cuts at which fewer bytes cross, lossless, than at all before."""
    graph, codecs = measurements.graph, measurements.coding.codecs
    plain = next((index for index, codec in enumerate(codecs) if codec.lossless and not codec.image), 0)
    sizes = CodedTensors.of(graph, measurements.coding, plain).bytes
    cuts: list[Cut] = []
    least = np.inf
    for stop in range(len(graph.operations)):
        cut = frozenset(range(stop))
        crossing = float(sizes[list(Assignment.of_cuts(graph, cut, cut).crossing(graph, 0))].sum())
        if crossing < least or not stop:
            cuts.append(cut)
            least = min(least, crossing)
    return tuple(cuts)


def make_pool(
    measurements: ModelMeasurements, cuts: Sequence[Cut], *, some_may: MayUse, all_may: MayUse
) -> PlanPool:
    """All nested pairs of these cuts with all codec pairs, less those that another plan beats in every respect.

    Args:
        some_may: whether any cohort may use plans with such lossy codings; others are left out.
        all_may: whether all may. A plan that only some may use beats no other.
    """
    candidates = list(_closure(measurements, cuts, some_may, all_may))
    pool = _priced_neutrally(measurements, candidates)
    allowed = np.array([some_may(codings) for codings in pool.codings], np.bool_)
    pool = pool.only(np.flatnonzero(allowed).astype(np.intp))
    return pool.only(_unbeaten(pool, np.array([all_may(codings) for codings in pool.codings], np.bool_)))


def _lines(model: CostModel) -> list[Line]:
    """Each codec on both links, handed on or coded anew, and each behind the smallest image."""
    titles = list(dict.fromkeys(first for first, _ in model.codec_pairs()))
    coding, inputs = model.measurements.coding, list(model.measurements.graph.inputs)
    images = [title for title in titles if coding.codec(title).image]
    smallest = min(images, key=lambda title: float(model.tariff.coded(title).bytes[inputs].sum()), default=None)
    return [
        *(Line((title, title)) for title in titles),
        *(Line((title, title), passes=True) for title in titles),
        *(Line((smallest, title)) for title in titles if smallest is not None and title not in images),
    ]


def _problem(model: CostModel, line: Line) -> CutProblem:
    return problem_of(model, line, _NO_LIMITS)


def _priced(model: CostModel, line: Line, prices: Prices, optimum: float) -> CutProblem:
    """The line's problem with prices on what it uses of edge, cloud, uplink and edge's memory."""
    problem, tariff = _problem(model, line), model.tariff
    costs = tariff.costs(line.codecs, handed_on=line.passes)
    used = (
        costs.stages[1] * float(tariff.cores[1]),
        costs.stages[2] * float(tariff.cores[2]),
        costs.link_bytes[1],
        costs.memory_mb[1],
    )
    whole = (
        float(tariff.op_ms[1].sum()),
        float(tariff.op_ms[2].sum()),
        float(np.nanmedian(tariff.coded(line.codecs[1]).bytes)),
        float(tariff.weights_mb.sum()),
    )
    additive = problem.additive
    for price, use, all_of_it in zip(prices, used, whole, strict=True):
        if price and all_of_it:
            additive = additive + use * (price * optimum / all_of_it)
    return replace(problem, additive=additive)


def _closure(
    measurements: ModelMeasurements, cuts: Sequence[Cut], some_may: MayUse, all_may: MayUse
) -> Iterator[Candidate]:
    """Every plan over these cuts; of codecs those that are not beaten at the cut they are used at."""
    everything = len(measurements.graph.operations)
    codecs = {
        cut: _codecs_at(measurements, cut, some_may, all_may) if len(cut) < everything else ["raw"] for cut in cuts
    }
    for device, until_cloud in product(cuts, cuts):
        if device <= until_cloud:
            for pair in product(codecs[device], codecs[until_cloud]):
                yield Candidate(device, until_cloud, pair)


def _codecs_at(measurements: ModelMeasurements, cut: Cut, some_may: MayUse, all_may: MayUse) -> list[str]:
    """Titles of the codecs worth using at a cut: none that is larger and slower both ways than one all may use."""
    graph, coding = measurements.graph, measurements.coding
    crossing = list(Assignment.of_cuts(graph, cut, cut).crossing(graph, 0))
    figures: dict[str, Float64Array] = {}
    for index, codec in enumerate(coding.codecs):
        coded = CodedTensors.of(graph, coding, index)
        total = np.array([row[crossing].sum() for row in (coded.bytes, coded.encode_ms, coded.decode_ms)])
        usable = codec.lossless or some_may(((cut, codec.title),))
        if usable and not (codec.image and cut) and np.isfinite(total).all():
            figures[codec.title] = total
    kept: list[str] = []
    beating: list[Float64Array] = []
    for title in sorted(figures, key=lambda title: tuple(figures[title])):
        if not any((other <= figures[title]).all() for other in beating):
            kept.append(title)
            if coding.codec(title).lossless or all_may(((cut, title),)):
                beating.append(figures[title])
    return kept


def _priced_neutrally(measurements: ModelMeasurements, candidates: Sequence[Candidate]) -> PlanPool:
    link = LinkSpec(up_mbps=1, down_mbps=1)
    model = CostModel(
        measurements, Topology(links=Links(device_edge=link, edge_cloud=link), constraints=_NO_LIMITS)
    )
    graph = measurements.graph
    everything, inputs = len(graph.operations), set(graph.inputs)
    raw = {
        cut: bool(inputs & set(Assignment.of_cuts(graph, cut, cut).crossing(graph, 0)))
        for cut in {candidate.device for candidate in candidates}
    }
    found = [model.predict(candidate) for candidate in candidates]
    return PlanPool(
        measurements=measurements,
        candidates=tuple(candidates),
        tier_ms=np.array([[item.device_ms, item.edge_ms, item.cloud_ms] for item in found]).T,
        link_bytes=np.array([[item.device_edge_bytes, item.edge_cloud_bytes] for item in found]).T,
        crosses=np.array(
            [[len(item.device) < everything, len(item.until_cloud) < everything] for item in candidates], np.bool_
        ).T,
        device_memory_mb=np.array([item.device_memory_bytes for item in found]) / MEGA,
        edge_weights_mb=np.array(
            [measurements.weights_bytes[list(item.until_cloud - item.device)].sum() for item in candidates]
        )
        / MEGA,
        leaves_raw=np.array([raw[item.device] for item in candidates], np.bool_),
        codings=tuple(lossy_codings(model, item) for item in candidates),
    )


def _unbeaten(pool: PlanPool, beats: Mask) -> npt.NDArray[np.intp]:
    """Indices of plans that none of `beats` is at least as good as in every figure; of equals the first."""
    figures = np.vstack(
        [pool.tier_ms, pool.link_bytes, pool.crosses, pool.device_memory_mb, pool.leaves_raw, pool.edge_weights_mb]
    ).T.astype(np.float64)
    size = figures / np.maximum(figures.max(axis=0, initial=0.0), 1e-300)
    kept: list[int] = []
    front = np.zeros((0, figures.shape[1]))
    for index in np.argsort(size.sum(axis=1), kind="stable"):
        if not (front <= figures[index]).all(axis=1).any():
            kept.append(int(index))
            if beats[index]:
                front = np.vstack([front, figures[index]])
    return np.array(sorted(kept), np.intp)
