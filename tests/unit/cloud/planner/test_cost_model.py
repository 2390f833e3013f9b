"""What a frame is predicted to cost: the same by linear costs, by prediction, and by following a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.brute_force_cuts import best_by_trying_all
from support.planner_cases import (
    MENU,
    allowed,
    chain_graph,
    random_candidate,
    random_graph,
    random_measurements,
    random_topology,
    value_of,
)
from tercet.errors import SpecError
from tercet_cloud.planner.costs.candidate import Candidate
from tercet_cloud.planner.costs.codec_pairs import worthwhile_pairs
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.frame_costs import CodedTensors
from tercet_cloud.planner.costs.topology import Constraints, Objective, TierSpec, Weights
from tercet_cloud.planner.cuts.cut_graph import INPUT, Assignment
from tercet_cloud.planner.cuts.exact import CutProblem, solve_cut
from tercet_cloud.planner.measuring.coding_table import MenuCodec

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


def crosses_uncodable(model: CostModel, candidate: Candidate) -> bool:
    graph = model.measurements.graph
    where = candidate.assignment(graph)
    return any(
        model.tariff.coded(candidate.codecs[link]).impossible[list(where.crossing(graph, link))].any()
        for link in (0, 1)
        if where.uses(link)
    )


@settings(deadline=None)
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


@settings(deadline=None)
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


@settings(deadline=None)
@given(seeds, pairs)
def test_a_frame_followed_step_by_step_takes_as_long_as_predicted(seed: int, codecs: tuple[str, str]) -> None:
    model, rng = random_case(seed)
    candidate = random_candidate(rng, model.measurements.graph, codecs)
    if not crosses_uncodable(model, candidate):
        assert model.predict(candidate).latency_ms == pytest.approx(followed_latency_ms(model, candidate))


def best_of(problems: Iterable[CutProblem]) -> float:
    found = [value for problem in problems if (value := best_by_trying_all(problem)) is not None]
    return min(found, default=float("inf"))


@settings(deadline=None, max_examples=8)
@given(seeds, st.sampled_from(OBJECTIVES))
def test_pairs_left_out_lose_nothing_whatever_accuracy_is_asked_for(seed: int, objective: Objective) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 4)
    model = CostModel(random_measurements(rng, graph), random_topology(rng, objective=objective))
    lossless = {codec.title for codec in MENU if codec.lossless}
    everything = list(product([codec.title for codec in MENU], repeat=2))
    kept = model.codec_pairs()
    assert set(kept) <= set(everything)
    for titles in (lossless, {codec.title for codec in MENU}):
        best = [
            best_of(
                [model.problem(pair, FREE) for pair in pairs if set(pair) <= titles]
                + [model.pass_through_problem(one, FREE) for one, other in pairs if one == other and one in titles]
            )
            for pairs in (everything, kept)
        ]
        assert best[0] == pytest.approx(best[1])


def test_only_a_lossless_codec_that_is_never_dearer_replaces_another() -> None:
    def coded(size: float) -> CodedTensors:
        return CodedTensors(np.array([size, size]), np.ones(2), np.ones(2))

    raw, packed = MENU[0], MENU[1]
    lossy = MenuCodec(title="int8", spec="int8")
    assert worthwhile_pairs([raw, packed], [coded(8), coded(4)]) == [("zstd", "zstd")]
    # Lossy and larger: a lossless pair replaces it; smaller: it stays.
    assert worthwhile_pairs([raw, lossy], [coded(8), coded(9)]) == [("raw", "raw")]
    assert len(worthwhile_pairs([raw, lossy], [coded(8), coded(4)])) == 4
    # Nothing lossy is left out for something lossy: which is more accurate is for measurement to say.
    assert len(worthwhile_pairs([lossy, MenuCodec(title="int4", spec="int4")], [coded(9), coded(4)])) == 4


def test_equally_dear_lossless_codecs_leave_one() -> None:
    same = CodedTensors(np.ones(2), np.ones(2), np.ones(2))
    assert worthwhile_pairs(MENU[:2], [same, same]) == [("raw", "raw")]


@settings(deadline=None)
@given(seeds, st.sampled_from(["jpeg:75", "png"]), st.sampled_from(["raw", "jpeg:75"]))
def test_a_photo_crosses_only_where_nothing_was_computed(seed: int, image: str, other: str) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 4)
    model = CostModel(random_measurements(rng, graph), random_topology(rng))
    first, second = (solve_cut(model.problem(pair, FREE)) for pair in ((image, other), (other, image)))
    assert first.assignment.before(0) == frozenset()
    assert second.assignment.before(1) == frozenset()
    together = solve_cut(model.pass_through_problem(image, FREE))
    assert model.candidate_of((image, image), together, pass_through=True).until_cloud == frozenset()


@settings(deadline=None)
@given(seeds, st.sampled_from([("raw", "raw"), ("zstd", "raw"), ("int8", "int8")]), st.floats(0, 1))
def test_what_the_limits_forbid_is_what_is_called_broken(seed: int, codecs: tuple[str, str], share: float) -> None:
    model, rng = random_case(seed)
    candidate = random_candidate(rng, model.measurements.graph, codecs)
    where = candidate.assignment(model.measurements.graph)
    if crosses_uncodable(model, candidate) or (where.passes_edge and codecs[0] == codecs[1]):
        return
    constraints = Constraints(
        max_accuracy_drop=None,
        deadline_ms=1 + 100 * share,
        max_device_memory_mb=30 + 10 * share,
        max_device_energy_mj=1 + 100 * share,
        private_input=share < 0.5,
    )
    broken = model.broken(model.predict(candidate), candidate, constraints)
    assert (broken is None) == allowed(model.problem(codecs, constraints), where)


def test_a_broken_constraint_is_named_with_how_much() -> None:
    rng = np.random.default_rng(3)
    graph = chain_graph(3)
    measured = replace(random_measurements(rng, graph), weights_bytes=np.array([4e6, 2e6, 1e6]))
    measured = replace(measured, activation_bytes=np.array([5e5, 1e6, 100.0]))
    model = CostModel(measured, random_topology(rng))
    on_device = Candidate(frozenset({0, 1, 2}), frozenset({0, 1, 2}), ("raw", "raw"))
    away = Candidate(frozenset(), frozenset(), ("raw", "raw"))

    def broken(candidate: Candidate, **limits: float) -> str | None:
        return model.broken(model.predict(candidate), candidate, Constraints.model_validate(limits))

    assert broken(on_device, max_device_memory_mb=38) is None
    assert broken(on_device, max_device_memory_mb=30) == "device memory: 38 MB is 8 MB over 30 MB"
    assert broken(away, max_device_memory_mb=1) is None
    latency = model.predict(away).latency_ms
    assert (broken(away, deadline_ms=latency / 2) or "").startswith("deadline: ")
    assert broken(away, private_input=True) == "private input: the raw input leaves the device"
    assert broken(on_device, private_input=True) is None


def test_memory_of_edge_and_cloud_is_limited_too() -> None:
    rng = np.random.default_rng(4)
    graph = chain_graph(3)
    measured = replace(random_measurements(rng, graph), weights_bytes=np.full(3, 4e6), activation_bytes=np.zeros(3))
    topology = random_topology(rng)
    tiers = topology.tiers.model_copy(update={"edge": TierSpec(memory_mb=7)})
    model = CostModel(measured, topology.model_copy(update={"tiers": tiers}))
    at_edge = Candidate(frozenset({0}), frozenset({0, 1, 2}), ("raw", "raw"))
    assert model.broken(model.predict(at_edge), at_edge, FREE) == "edge memory: 8 MB is 1 MB over 7 MB"
    where = at_edge.assignment(graph)
    assert not allowed(model.problem(("raw", "raw"), FREE), where)


def test_private_input_leaves_no_pair_that_sends_photos() -> None:
    rng = np.random.default_rng(5)
    graph = random_graph(rng, 4)
    measured = random_measurements(rng, graph)
    private = Constraints(private_input=True)
    open_pairs = CostModel(measured, random_topology(rng)).codec_pairs()
    pairs = CostModel(measured, random_topology(rng, constraints=private)).codec_pairs()
    assert ("jpeg:75", "jpeg:75") in open_pairs
    assert {title for pair in pairs for title in pair} <= {"raw", "zstd", "int8"}


def test_an_unknown_codec_is_named_with_the_menu() -> None:
    model, _ = random_case(6)
    candidate = Candidate(frozenset(), frozenset(), ("klt:9", "raw"))
    with pytest.raises(SpecError, match=r"'klt:9' is not on the measured menu \(raw, zstd"):
        model.predict(candidate)


def test_of_plans_equal_in_bytes_the_quicker_is_better() -> None:
    rng = np.random.default_rng(7)
    graph = chain_graph(2)
    model = CostModel(random_measurements(rng, graph), random_topology(rng, objective="bytes"))
    prediction = model.predict(Candidate(frozenset({0, 1}), frozenset({0, 1}), ("raw", "raw")))
    assert model.value(prediction) < model.value(replace(prediction, device_ms=prediction.device_ms + 1))
