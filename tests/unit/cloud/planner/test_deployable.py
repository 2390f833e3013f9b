"""Candidates as deployments: sliced where they cut, and giving the uncut model's answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.brute_force_cuts import every_cut
from support.tiny_classifier import tiny_classifier
from tercet.cut_model import CutModel
from tercet.errors import SpecError
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.tiers import Tier
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of
from tercet_cloud.planner.deployable import deploy_plans
from tercet_cloud.planner.measuring.coding_table import CodingTable, MenuCodec
from tercet_cloud.planner.report.plan_report import PlanRow

CODING = CodingTable(
    model="tiny-classifier",
    model_sha256="0" * 64,
    samples="none",
    frames=1,
    codecs=(
        MenuCodec(title="raw", spec="raw", lossless=True),
        MenuCodec(title="small", spec="int8"),
    ),
    tensors={},
    answer_bytes=100,
    header_bytes=10,
)
PREDICTION = Prediction(3.0, 4.0, 1.0, 0.0, 0.0, 900.0, 0.0, 30.0, 1e6, 0.0, 4.0)


def row(device: frozenset[int], until_cloud: frozenset[int], codecs: tuple[str, str] = ("raw", "raw")) -> PlanRow:
    accuracy = MeasuredAccuracy("same", 0.97, 0.9, 1.0, 0.03, 0.1, frames=40)
    return PlanRow("best", Candidate(device, until_cloud, codecs), PREDICTION, 8.0, accuracy)


class Network:
    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.card = tiny_classifier(self.store)
        self.onnx_bytes = self.store.model_bytes(self.card)
        self.onnx = OnnxGraph(self.onnx_bytes)

    @property
    def graph(self) -> CutGraph:
        return cut_graph_of(self.onnx)

    def deploy(self, **plans: PlanRow) -> Deployment:
        return deploy_plans(self.store, self.card, self.onnx, CODING, plans)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)


def test_every_cut_of_a_network_runs_on_three_tiers_and_gives_the_uncut_answer(network: Network) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    expected = WholeModel(network.onnx_bytes).run({"x": x})["scores"]
    for device, until_cloud in every_cut(network.graph):
        deployment = network.deploy(best=row(device, until_cloud))
        cut = CutModel.open(deployment, network.store, threads=1, providers=DEFAULT_PROVIDERS)
        plan = deployment.plan("best")
        tensors = {"x": x}
        for tier in Tier:
            segments = plan.segments(tier, cut.manifest)
            tensors = cut.chain.run(tensors, segments.start, max(segments.start, segments.stop))
        np.testing.assert_allclose(tensors["scores"], expected, rtol=1e-5, atol=1e-6)
        assert [len(plan.segments(tier, cut.manifest)) for tier in Tier] == [
            int(bool(operations))
            for operations in (device, until_cloud - device, len(network.graph.operations) - len(until_cloud))
        ]


def test_a_deployment_carries_codecs_as_they_cross_the_wire_and_what_is_predicted(network: Network) -> None:
    everything = frozenset(range(len(network.graph.operations)))
    deployment = network.deploy(best=row(frozenset({0, 1}), everything, ("small", "raw")))
    plan = deployment.plan("best")
    assert (plan.codecs.device_edge, plan.codecs.edge_cloud) == ("int8", "raw")
    assert plan.predicted is not None
    assert plan.predicted.device_ms == 3.0
    assert plan.predicted.answer_bytes == 100
    assert plan.predicted.agreement == 0.97


def test_plans_of_one_deployment_share_the_segments_they_have_in_common(network: Network) -> None:
    everything = frozenset(range(len(network.graph.operations)))
    low, mid = frozenset({0, 1}), frozenset({0, 1, 2, 3})
    deployment = network.deploy(
        near=row(low, everything), far=row(mid, everything), three=row(low, mid), alone=row(everything, everything)
    )
    manifest = network.store.manifest(deployment.model)
    assert [boundary.tensors[0].name for boundary in manifest.boundaries] == ["x", "low", "mid", "scores"]
    assert [(plan.device_until, plan.edge_until) for plan in deployment.plans] == [(1, 3), (2, 3), (1, 2), (3, 3)]
    alone = deployment.plan("alone").predicted
    assert alone is not None
    assert alone.answer_bytes == 0


def test_plans_whose_cuts_cross_each_other_are_refused(network: Network, tmp_path: Path) -> None:
    from support.onnx_models import parse
    from tercet.models.card import ModelCard, OnnxFile, TensorInput
    from tercet.models.store import sha256_of

    data = parse("fork (float[N, 4] x) => (float[N, 4] y) { a = Relu(x) b = Exp(x) y = Add(a, b) }")
    card = ModelCard(
        name="fork",
        task="other",
        licence="none",
        onnx=OnnxFile(sha256=sha256_of(data), size_bytes=len(data)),
        input=TensorInput(),
        output="y",
    )
    network.store.add_model(card, data)
    everything = frozenset(range(3))
    plans = {"left": row(frozenset({0}), everything), "right": row(frozenset({1}), everything)}
    with pytest.raises(SpecError, match="must follow the data"):
        deploy_plans(network.store, card, OnnxGraph(data), CODING, plans)
