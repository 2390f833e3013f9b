"""What a plan was made from, kept for the blocks of its deployment: so that nodes can be given other plans later.

Codings are offered where this run measured them to be accurate enough, and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tercet.block_costs import BlockCosts, BoundaryCoding, PairAgreement, TierTimes
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.costs.cost_model import UNUSED_CODEC, CostModel
from tercet_cloud.planner.measuring.accuracy import Way
from tercet_cloud.planner.measuring.coding_table import MenuCodec
from tercet_cloud.planner.measuring.narrow_calibration import narrowed_spec
from tercet_cloud.planner.searching.search import ROUNDING

_NOTHING = Prediction(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
# Two codecs of an edge that codes anew, which needs the more memory.
_CODED_ANEW = (UNUSED_CODEC, "another")


@dataclass(frozen=True)
class Accuracies:
    """What was measured, by way, and how much may be lost; None: all."""

    known: Mapping[Way, MeasuredAccuracy]
    allowed: float | None

    def agreement(self, *way: tuple[tuple[str, ...], str]) -> float | None:
        """None for what was not measured, or is too inaccurate."""
        found = self.known.get(way)
        if found is None or (self.allowed is not None and found.drop_bound > self.allowed + ROUNDING):
            return None
        return found.agreement


def block_costs(
    store: Store,
    cost: CostModel,
    manifest: Manifest,
    cuts: Collection[frozenset[int]],
    known: Mapping[Way, MeasuredAccuracy],
) -> BlockCosts:
    """Costs of a deployment's blocks; the calibrations of codings that it offers are in the store afterwards.

    Args:
        cuts: the operations before each link of every deployed plan: where the manifest's boundaries are.
        known: accuracies that were measured.
    """
    tariff, graph, coding = cost.tariff, cost.measurements.graph, cost.measurements.coding
    everything = frozenset(range(len(graph.operations)))
    befores = sorted({frozenset[int](), everything, *cuts}, key=len)
    accuracies = Accuracies(known, cost.topology.constraints.max_accuracy_drop)
    crossing = [
        Candidate(before, everything, (UNUSED_CODEC, UNUSED_CODEC)).crossing(graph, 0) for before in befores[:-1]
    ]
    offered = [
        list(_codings(store, cost, manifest.boundaries[place].names, tensors, accuracies))
        if _may_cross(cost, tensors)
        else []
        for place, tensors in enumerate(crossing)
    ]
    return BlockCosts(
        model=manifest.ref,
        blocks=tuple(
            _by_tier([float(tariff.op_ms[tier, sorted(after - before)].sum()) for tier in range(len(Tier))])
            for before, after in itertools.pairwise(befores)
        ),
        session_ms=_by_tier([float(spent) for spent in tariff.session_ms]),
        coding_pace=_by_tier([float(slower) for slower in tariff.slowdown]),
        boundaries=(*(tuple(made for _, made in codings) for codings in offered), ()),
        pairs=tuple(_pairs(crossing, offered, accuracies)),
        barred_cuts=tuple(_barred(cost, befores)),
        answer_bytes=coding.answer_bytes,
    )


def _may_cross(cost: CostModel, tensors: Sequence[str]) -> bool:
    graph = cost.measurements.graph
    inputs = {graph.tensors[index].name for index in graph.inputs}
    return not (cost.topology.constraints.private_input and inputs & set(tensors))


def _codings(
    store: Store, cost: CostModel, names: Collection[str], tensors: tuple[str, ...], accuracies: Accuracies
) -> Iterator[tuple[MenuCodec, BoundaryCoding]]:
    """Of every codec of the menu that can code all tensors that cross."""
    table = cost.measurements.coding
    for index, codec in enumerate(table.codecs):
        entries = [table.tensors[name][index] for name in tensors if name in table.tensors]
        coded = [entry for entry in entries if entry is not None]
        if len(coded) < len(tensors):
            continue
        agreement = 1.0 if codec.lossless else accuracies.agreement((tensors, codec.spec))
        in_a_pair = any(len(way) == 2 and (tensors, codec.spec) in way for way in accuracies.known)
        usable = agreement is not None or in_a_pair
        yield (
            codec,
            BoundaryCoding(
                spec=narrowed_spec(store, codec.spec, names) if usable else codec.spec,
                bytes=sum(entry.bytes for entry in coded) + table.header_bytes,
                encode_ms=sum(entry.encode_ms for entry in coded),
                decode_ms=sum(entry.decode_ms for entry in coded),
                agreement=agreement,
                lossless=codec.lossless,
            ),
        )


def _pairs(
    crossing: Sequence[tuple[str, ...]],
    offered: Sequence[Sequence[tuple[MenuCodec, BoundaryCoding]]],
    accuracies: Accuracies,
) -> Iterator[PairAgreement]:
    for first, second in itertools.combinations_with_replacement(range(len(crossing)), 2):
        for (codec, coding), (other, following) in itertools.product(offered[first], offered[second]):
            agreement = accuracies.agreement((crossing[first], codec.spec), (crossing[second], other.spec))
            if agreement is not None:
                yield PairAgreement(
                    first=first, second=second, codecs=(coding.spec, following.spec), agreement=agreement
                )


def _barred(cost: CostModel, befores: Sequence[frozenset[int]]) -> Iterator[tuple[int, int]]:
    """Cuts that break a limit of memory."""
    memory_alone = cost.topology.constraints.model_copy(
        update={"deadline_ms": None, "max_device_energy_mj": None, "private_input": False}
    )
    for first, second in itertools.combinations_with_replacement(range(len(befores)), 2):
        candidate = Candidate(befores[first], befores[second], _CODED_ANEW)
        if cost.broken(_NOTHING, candidate, memory_alone):
            yield first, second


def _by_tier(figures: Sequence[float]) -> TierTimes:
    device, edge, cloud = figures
    return TierTimes(device=device, edge=edge, cloud=cloud)
