"""What a frame is predicted to cost: the same by linear costs, by prediction, and by following a frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.planner_cases import (
    random_candidate,
    random_graph,
    random_measurements,
    random_topology,
)
from tercet.errors import SpecError
from tercet_cloud.planner.candidate import Candidate
from tercet_cloud.planner.cost_model import CostModel
from tercet_cloud.planner.cut_graph import INPUT, Assignment
from tercet_cloud.planner.exact import CutProblem
from tercet_cloud.planner.topology import Constraints, Objective, Weights

FREE = Constraints(max_accuracy_drop=None)
OBJECTIVES: list[Objective] = [
    "latency",
    "throughput",
    "energy",
    "bytes",
    Weights(latency_ms=1, throughput_ms=3, energy_mj=0.2, device_edge_kb=0.5, edge_cloud_kb=0.1, cost=100),
]
seeds = st.integers(0, 2**32 - 1)
pairs = st.tuples(st.sampled_from(["raw", "zstd", "int8"]), st.sampled_from(["raw", "zstd", "int8"]))


def random_case(seed: int, objective: Objective = "latency") -> tuple[CostModel, np.random.Generator]:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, int(rng.integers(1, 9)), inputs=int(rng.integers(1, 3)))
    return CostModel(random_measurements(rng, graph), random_topology(rng, objective=objective)), rng


def value_of(problem: CutProblem, where: Assignment) -> float:
    additive = problem.additive.of(problem.graph, where)
    worst = max((stage.of(problem.graph, where) for stage in problem.stages), default=0.0)
    return additive + problem.stage_weight * worst


def crosses_uncodable(model: CostModel, candidate: Candidate) -> bool:
    graph = model.measurements.graph
    where = candidate.assignment(graph)
    return any(
        model.tariff.coded(candidate.codecs[link]).impossible[list(where.crossing(graph, link))].any()
        for link in (0, 1)
        if where.uses(link)
    )


@given(seeds, pairs, st.sampled_from(OBJECTIVES))
def test_linear_costs_and_prediction_agree_on_every_cut(
    seed: int, codecs: tuple[str, str], objective: Objective
) -> None:
    model, rng = random_case(seed, objective)
    candidate = random_candidate(rng, model.measurements.graph, codecs)
    where = candidate.assignment(model.measurements.graph)
    if crosses_uncodable(model, candidate):
        with pytest.raises(SpecError, match="cannot code"):
            model.predict(candidate)
        return
    value = model.value(model.predict(candidate))
    priced = value_of(model.problem(codecs, FREE), where)
    if where.passes_edge and codecs[0] == codecs[1]:
        assert value <= priced
    else:
        assert value == pytest.approx(priced)


@given(seeds, st.sampled_from(["raw", "zstd", "int8"]), st.sampled_from(OBJECTIVES))
def test_a_frame_handed_on_is_priced_as_predicted(seed: int, codec: str, objective: Objective) -> None:
    model, rng = random_case(seed, objective)
    graph = model.measurements.graph
    device = random_candidate(rng, graph, (codec, codec)).device
    problem = model.pass_through_problem(codec, FREE)
    where = Assignment.of_cuts(graph, device, frozenset(range(len(graph.operations))))
    candidate = model.candidate_of((codec, codec), where, pass_through=True)
    assert candidate.device == candidate.until_cloud == device
    if not crosses_uncodable(model, candidate):
        assert value_of(problem, where) == pytest.approx(model.value(model.predict(candidate)))


def followed_latency_ms(model: CostModel, candidate: Candidate) -> float:
    """The latency of one frame, followed step by step with a clock, tensor by tensor."""
    graph, measured, topology = model.measurements.graph, model.measurements, model.topology
    tiers = [topology.tiers.device, topology.tiers.edge, topology.tiers.cloud]
    links = [topology.links.device_edge, topology.links.edge_cloud]
    menu = [codec.title for codec in measured.coding.codecs]
    tier_of = [
        0 if index in candidate.device else 1 if index in candidate.until_cloud else 2
        for index in range(len(graph.operations))
    ]
    last = max(tier_of, default=0)
    clock, here = 0.0, {tensor.name for tensor in graph.tensors if tensor.producer == INPUT}
    handed_on = last == 2 and 1 not in tier_of and candidate.codecs[0] == candidate.codecs[1]
    for tier in range(last + 1):
        ran = False
        for index, name in enumerate(graph.operations):
            if tier_of[index] == tier:
                needed = {tensor.name for tensor in graph.tensors if index in tensor.consumers}
                assert needed <= here, f"{name} would run without its inputs"
                here |= {tensor.name for tensor in graph.tensors if tensor.producer == index}
                clock += measured.op_ms[tier, index] * tiers[tier].slowdown
                ran = True
        if ran or (tier == 1 and not handed_on):
            clock += measured.session_ms[tier] * tiers[tier].slowdown
        if tier == last:
            break
        sent = {
            tensor.name
            for tensor in graph.tensors
            if tensor.name in here
            and (tensor.is_output or any(tier_of[reader] > tier for reader in tensor.consumers))
        }
        entries = [measured.coding.tensors[name][menu.index(candidate.codecs[tier])] for name in sent]
        bits = measured.coding.header_bytes * 8
        for entry in entries:
            assert entry is not None
            bits += entry.bytes * 8
            if not (handed_on and tier == 1):
                clock += entry.encode_ms * tiers[tier].slowdown
            if not (handed_on and tier == 0):
                clock += entry.decode_ms * tiers[tier + 1].slowdown
        link = links[tier]
        clock += bits / (link.up_mbps * 1e6) * 1e3
        clock += link.round_trip_ms / 2 + link.overhead_ms
        here = sent
    for tier in reversed(range(last)):
        link = links[tier]
        clock += link.round_trip_ms / 2 + measured.coding.answer_bytes * 8 / (link.down_mbps * 1e6) * 1e3
    return clock


@given(seeds, pairs)
def test_a_frame_followed_step_by_step_takes_as_long_as_predicted(seed: int, codecs: tuple[str, str]) -> None:
    model, rng = random_case(seed)
    candidate = random_candidate(rng, model.measurements.graph, codecs)
    if not crosses_uncodable(model, candidate):
        assert model.predict(candidate).latency_ms == pytest.approx(followed_latency_ms(model, candidate))
