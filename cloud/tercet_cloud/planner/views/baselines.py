"""What everything else would have cost: plans without a planner, and planners that were published.

All are priced by the same cost model and on the same links. A baseline that breaks a constraint stays in the table
and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tercet.errors import InfeasibleError, SpecError
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.cost_model import UNUSED_CODEC, CostModel
from tercet_cloud.planner.costs.topology import Constraints
from tercet_cloud.planner.cuts.chain_cuts import chain_cuts
from tercet_cloud.planner.cuts.exact import CutProblem, solve_cut
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.searching.accuracy_memo import AccuracyMemo
from tercet_cloud.planner.searching.search import Line, Restrict, search_plan, too_inaccurate

RAW = "raw"
NO_LIMITS = Constraints(max_accuracy_drop=None)
_NOTHING = frozenset[int]()
# A family of codecs is what stands before ":" in the title.
_FAMILIES = ("png", "jpeg", "webp")
# Accuracy measurements that one two-tier baseline may take.
_MEASURED = 16

_NEUROSURGEON = (
    "one cut where a single tensor crosses, device and cloud, uncoded, least latency; after Kang et al., "
    "Neurosurgeon, ASPLOS 2017"
)
_DADS = (
    "minimum cut of the graph, two tiers (device with edge or cloud, the quicker), uncoded, least latency; after "
    "Hu et al., Dynamic Adaptive DNN Surgery, INFOCOM 2019"
)


def plan_row(
    model: CostModel, memo: AccuracyMemo, name: str, candidate: Candidate, note: str = "", *, measure: bool = True
) -> PlanRow:
    """A candidate priced, its accuracy measured or as far as known, and held against the topology's constraints."""
    constraints = model.topology.constraints
    prediction = model.predict(candidate)
    accuracy = memo.measured(candidate) if measure else memo.of(candidate)
    broken = model.broken(prediction, candidate, constraints) or too_inaccurate(accuracy, constraints)
    return PlanRow(name, candidate, prediction, model.value(prediction), accuracy, broken, note)


def baseline_rows(model: CostModel, memo: AccuracyMemo) -> tuple[PlanRow, ...]:
    """All baselines that this model has: those that send photos need image codecs on the menu.

    Raises:
        SpecError: `raw` is not on the menu, with which all others are compared.
    """
    model.tariff.coded(RAW)
    return (*single_tier_rows(model, memo), *two_tier_rows(model, memo), *published_rows(model, memo))


def single_tier_rows(model: CostModel, memo: AccuracyMemo) -> Iterator[PlanRow]:
    """Everything on one tier; for a family of image codecs the best quality that keeps the accuracy."""
    everything = frozenset(range(len(model.measurements.graph.operations)))
    families = _image_families(model)

    def at_edge(title: str) -> Candidate:
        return Candidate(_NOTHING, everything, (title, UNUSED_CODEC))

    def in_cloud(title: str) -> Candidate:
        return Candidate(_NOTHING, _NOTHING, (title, title))

    on_device = Candidate(everything, everything, (UNUSED_CODEC, UNUSED_CODEC))
    yield plan_row(model, memo, "all-device", on_device, "nothing is sent")
    groups = [[RAW], families.get("png", []), [title for group in families.values() for title in group]]
    seen = set[str]()
    for group in groups:
        candidates = [at_edge(title) for title in group if _can_send(model, at_edge(title))]
        row = _best_accurate(model, memo, "all-edge", candidates, "the input is sent as it is captured")
        if row is not None and row.name not in seen:
            seen.add(row.name)
            yield row
    for group in ([RAW], *families.values()):
        candidates = [in_cloud(title) for title in group if _can_send(model, in_cloud(title))]
        row = _best_accurate(model, memo, "all-cloud", candidates, "the edge hands the input on")
        if row is not None:
            yield row


def two_tier_rows(model: CostModel, memo: AccuracyMemo) -> Iterator[PlanRow]:
    """The best plan there is, exact and with every codec, if one of the tiers computes nothing."""
    everything = frozenset(range(len(model.measurements.graph.operations)))
    # If the cloud is not used, the second codec is all the same.
    one_second = {pair[0]: pair for pair in reversed(model.codec_pairs()) if not _is_image(model, pair[1])}

    def device_edge(line: Line, problem: CutProblem) -> CutProblem | None:
        unused = line.passes or one_second.get(line.codecs[0]) != line.codecs
        return None if unused else pinned(problem, (None, everything))

    def device_cloud(line: Line, problem: CutProblem) -> CutProblem | None:
        return problem if line.passes else None

    def edge_cloud(line: Line, problem: CutProblem) -> CutProblem | None:
        return pinned(problem, (_NOTHING, None))

    for name, restrict, note in (
        ("best of device and edge", device_edge, "any cut, any codec, no cloud"),
        ("best of device and cloud", device_cloud, "any cut, any codec, the edge hands on"),
        ("best of edge and cloud", edge_cloud, "any cuts, any codecs, the device only sends"),
    ):
        candidate = _best_within(model, memo, restrict)
        if candidate is not None:
            yield plan_row(model, memo, name, candidate, note)


def published_rows(model: CostModel, memo: AccuracyMemo) -> Iterator[PlanRow]:
    """Planners in the manner of published ones. They minimise latency and know no other constraint or objective."""
    quickest = model.under(model.topology.model_copy(update={"objective": "latency"}))
    for name, candidates, note in (
        ("Neurosurgeon-style", neurosurgeon_candidates(model), _NEUROSURGEON),
        ("DADS-style", dads_candidates(quickest), _DADS),
    ):
        best = min(candidates, key=lambda candidate: model.predict(candidate).latency_ms, default=None)
        if best is not None:
            yield plan_row(model, memo, name, best, note)


def neurosurgeon_candidates(model: CostModel) -> list[Candidate]:
    """Device and cloud, cut once where a single tensor crosses."""
    *cuts, everything = chain_cuts(model.measurements.graph)
    found = [Candidate(cut, cut, (RAW, RAW)) for cut in cuts]
    found.append(Candidate(everything, everything, (UNUSED_CODEC, UNUSED_CODEC)))
    return [candidate for candidate in found if _can_send(model, candidate)]


def dads_candidates(model: CostModel) -> list[Candidate]:
    """The minimum cuts of two tiers, uncoded. `model` is to have latency as its objective."""
    everything = frozenset(range(len(model.measurements.graph.operations)))
    cloud = solve_cut(model.pass_through_problem(RAW, NO_LIMITS))
    edge = solve_cut(replace(model.problem((RAW, RAW), NO_LIMITS), pinned=(None, everything)))
    return [
        model.candidate_of((RAW, RAW), cloud, pass_through=True),
        model.candidate_of((RAW, RAW), edge),
    ]


def pinned(problem: CutProblem, cuts: tuple[frozenset[int] | None, frozenset[int] | None]) -> CutProblem | None:
    """A problem with cuts pinned as well; None where it pins them elsewhere."""
    if any(
        own is not None and cut is not None and own != cut for own, cut in zip(problem.pinned, cuts, strict=True)
    ):
        return None
    first, second = (own if cut is None else cut for own, cut in zip(problem.pinned, cuts, strict=True))
    return replace(problem, pinned=(first, second))


def _best_within(model: CostModel, memo: AccuracyMemo, restrict: Restrict) -> Candidate | None:
    """The best plan that a restriction leaves; if none keeps all constraints, the best that breaks some of them."""
    topology, limits = model.topology, model.topology.constraints
    tiers = topology.tiers
    boundless = tiers.model_copy(
        update={
            name: getattr(tiers, name).model_copy(update={"memory_mb": None}) for name in type(tiers).model_fields
        }
    )
    without_limits = Constraints(max_accuracy_drop=limits.max_accuracy_drop, private_input=limits.private_input)
    for changes in (
        {},
        {"constraints": without_limits, "tiers": boundless},
        {"constraints": without_limits.model_copy(update={"private_input": False}), "tiers": boundless},
    ):
        relaxed = model.under(topology.model_copy(update=changes))
        try:
            found = search_plan(relaxed, memo, max_measured=_MEASURED, restrict=restrict, runner_up=False)
        except InfeasibleError:
            continue
        return found.chosen.candidate
    return None


def _best_accurate(
    model: CostModel, memo: AccuracyMemo, name: str, candidates: list[Candidate], note: str
) -> PlanRow | None:
    """Of candidates that differ in codecs the best that is accurate enough, or else the most accurate."""
    rows = []
    for candidate in sorted(candidates, key=lambda candidate: model.value(model.predict(candidate))):
        row = plan_row(model, memo, f"{name} ({candidate.codecs[0]})", candidate, note)
        if too_inaccurate(row.accuracy, model.topology.constraints) is None:
            return row
        rows.append(row)
    return min(rows, key=lambda row: row.accuracy.drop_bound if row.accuracy else 0.0, default=None)


def _image_families(model: CostModel) -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for codec in model.measurements.coding.codecs:
        family = codec.title.partition(":")[0]
        if codec.image and family in _FAMILIES:
            families.setdefault(family, []).append(codec.title)
    return families


def _is_image(model: CostModel, title: str) -> bool:
    return model.measurements.coding.codec(title).image


def _can_send(model: CostModel, candidate: Candidate) -> bool:
    """Whether the codecs were measured on what crosses."""
    try:
        model.predict(candidate)
    except SpecError:
        return False
    return True
