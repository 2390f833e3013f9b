"""`tercet plan` from a model to a deployment that runs: all measured for real, on a small network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from support.hourglass import IMAGE, INPUT, NAME, NARROW, OUTPUT, SIZE, put_hourglass
from support.image_model import normalised, random_pixels
from support.onnx_models import parse_unchecked
from tercet.cli.main import run
from tercet.cut_model import CutModel
from tercet.documents import read_document, write_document
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet.plans import Plan, read_deployment
from tercet.profile import Profile
from tercet.tiers import Tier
from tercet.wire.tensors import decode_tensors, encode_tensors
from tercet_cloud.planner.commands import plan as plan_command
from tercet_cloud.planner.costs.topology import read_topology

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "topology.yaml"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """With the hourglass; measurements are kept in it from test to test."""
    store = Store(tmp_path_factory.mktemp("store"))
    put_hourglass(store)
    return store


def write_topology(path: Path, **changes: object) -> Path:
    """A device so much slower than the others that cutting this network pays by far."""
    link = {"up_mbps": 20, "down_mbps": 20, "round_trip_ms": 2}
    document = {
        "tiers": {"device": {"slowdown": 200}, "edge": {"slowdown": 2}},
        "links": {"device_edge": link, "edge_cloud": {**link, "round_trip_ms": 30}},
        "constraints": {"max_accuracy_drop": 0.2},
        **changes,
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def arguments(folder: Path, store: Store, topology: Path, *more: str) -> list[str]:
    return [NAME, "--topology", str(topology), "--store", str(store.root), "--out", str(folder), *more]


def tercet_plan(*given: str) -> int:
    """As the console script runs it."""
    return int(plan_command.main(args=list(given), standalone_mode=False) or 0)


def answer(cut: CutModel, plan: Plan, image: np.ndarray) -> np.ndarray:
    """One frame through all tiers as they run it: computed, coded, decoded."""
    tensors = {INPUT: image}
    for tier in Tier:
        segments = plan.segments(tier, cut.manifest)
        if len(segments):
            tensors = cut.chain.run(tensors, segments.start, segments.stop)
        link = {Tier.DEVICE: plan.codecs.device_edge, Tier.EDGE: plan.codecs.edge_cloud}.get(tier)
        beyond = plan.device_until if tier is Tier.DEVICE else plan.edge_until
        if link is not None and beyond < cut.last_boundary:
            headers, payloads = encode_tensors(tensors, link, cut.codecs)
            tensors = decode_tensors(headers, [memoryview(part) for part in payloads], cut.codecs)
    return np.asarray(tensors[OUTPUT])


def test_the_deployment_that_is_written_runs_and_answers_as_the_uncut_model_does(
    tmp_path: Path, store: Store
) -> None:
    limits = {"max_accuracy_drop": 0, "private_input": True}
    topology = write_topology(tmp_path / "topology.yaml", constraints=limits)
    assert tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40")) == 0
    deployment = read_deployment(tmp_path / "deployment.yaml")
    cut = CutModel.open(deployment, store, threads=1, providers=DEFAULT_PROVIDERS)
    for tier in Tier:
        cut.load_for(tier)
    plan = deployment.plan("best")
    assert [spec.name for spec in cut.manifest.boundaries[plan.device_until].tensors] == [NARROW]
    whole = WholeModel(store.model_bytes(store.card(NAME)))
    for seed in range(5):
        image = normalised(random_pixels(seed, side=SIZE), IMAGE)
        np.testing.assert_allclose(
            answer(cut, plan, image), whole.run({INPUT: image})[OUTPUT], rtol=1e-4, atol=1e-4
        )


def test_a_lossy_plan_agrees_as_often_as_was_measured(tmp_path: Path, store: Store) -> None:
    topology = write_topology(tmp_path / "topology.yaml", objective="bytes", constraints={"max_accuracy_drop": 0.9})
    assert tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40")) == 0
    chosen = json.loads((tmp_path / "plan.json").read_text())["chosen"]
    deployment = read_deployment(tmp_path / "deployment.yaml")
    assert chosen["accuracy"]["drop_bound"] <= 0.9
    predicted = deployment.plan("best").predicted
    assert predicted is not None
    assert predicted.agreement == chosen["accuracy"]["agreement"]
    assert predicted.device_ms == chosen["prediction"]["device_ms"]


def test_the_table_stands_beside_the_baselines_and_json_is_the_same_plan(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = write_topology(tmp_path / "topology.yaml")
    page = tmp_path / "page.html"
    assert (
        tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40", "--explain", "--html", str(page))) == 0
    )
    text = capsys.readouterr().out
    for words in ("▶ best", "all-device", "all-cloud (raw)", "Neurosurgeon-style", "measured on this machine"):
        assert words in text
    assert "device × 200, edge × 2" in text
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "plan.json").read_text())
    assert printed == written
    assert printed["chosen"]["route"] in text


def test_without_a_topology_it_plans_for_this_machine_and_leaves_a_topology_to_edit(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tercet_plan(NAME, "--store", str(store.root), "--out", str(tmp_path), "--frames", "40") == 0
    captured = capsys.readouterr()
    assert "planning for this one machine" in captured.err
    assert read_topology(tmp_path / "topology.yaml").name == "this-machine"
    # Links that only cost are not worth using.
    assert read_deployment(tmp_path / "deployment.yaml").plan("best").device_until == 1


def test_block_costs_in_the_store_price_every_deployed_plan_as_it_was_predicted(
    tmp_path: Path, store: Store
) -> None:
    topology = write_topology(tmp_path / "topology.yaml", objective="bytes", constraints={"max_accuracy_drop": 0.9})
    assert tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40")) == 0
    deployment = read_deployment(tmp_path / "deployment.yaml")
    costs = store.block_costs(deployment.model)
    assert any(coding.agreement is None for codings in costs.boundaries for coding in codings)
    for plan in deployment.plans:
        priced = costs.plan(plan.device_until, plan.edge_until, plan.codecs.device_edge, plan.codecs.edge_cloud)
        assert priced is not None
        assert priced.predicted is not None
        assert plan.predicted is not None
        assert priced.predicted.model_dump() == pytest.approx(plan.predicted.model_dump())


def refused(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str], *given: str) -> str:
    """The one line that a refusal is."""
    status = run(["plan", *given, "--store", str(store.root), "--out", str(tmp_path)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tercet: ")]
    assert status == 65
    assert len(lines) == 1
    return lines[0]


def add_model(store: Store, name: str, onnx_bytes: bytes, output: str = "y") -> None:
    onnx_file = OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes))
    card = ModelCard(name=name, task="other", licence="none", onnx=onnx_file, input=TensorInput(), output=output)
    store.add_model(card, onnx_bytes)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("g (float[N, M] x) => (float[N, M] y) { a = Relu(x) y = Exp(a) }", "free axes.*--shape x=1x64"),
        ("g (float[N, 4] x) => (float[N, 4] y) { a = Add(x, b) b = Relu(a) y = Exp(b) }", "has a cycle through"),
        ("g (float[N, 4] x) => (float[N, 4] x) { }", "computes nothing"),
    ],
)
def test_a_model_that_cannot_be_planned_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], graph: str, expected: str
) -> None:
    store = Store(tmp_path / "store")
    add_model(store, "bad", parse_unchecked(graph), output="x" if "{ }" in graph else "y")
    line = refused(tmp_path, store, capsys, "bad")
    assert re.search(expected, line), line


def test_an_operation_that_the_runtime_lacks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "com.acme" : 1]>\n'
        "g (float[N, 4] x) => (float[N, 4] y) { a = com.acme.Foo(x) y = Relu(a) }"
    )
    store = Store(tmp_path / "store")
    add_model(store, "odd", onnx.parser.parse_model(text).SerializeToString())
    line = refused(tmp_path, store, capsys, "odd")
    assert "com.acme:Foo" in line
    assert "export it with operations that" in line


def test_a_deadline_that_nothing_keeps_is_refused_with_the_one_that_would_do(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = write_topology(
        tmp_path / "topology.yaml", constraints={"deadline_ms": 0.01, "max_accuracy_drop": 0.2}
    )
    line = refused(tmp_path, store, capsys, NAME, "--topology", str(topology), "--frames", "40")
    needed_ms = float(line.rpartition("raise deadline from 0.01 to ")[2].split()[0])
    write_topology(topology, constraints={"deadline_ms": needed_ms, "max_accuracy_drop": 0.2})
    assert tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40")) == 0


def test_a_topology_with_an_unknown_key_is_refused_with_its_line(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = tmp_path / "topology.yaml"
    topology.write_text(
        EXAMPLE.read_text(encoding="utf-8").replace("deadline_ms:", "deadlines_ms:"), encoding="utf-8"
    )
    line = refused(tmp_path, store, capsys, NAME, "--topology", str(topology))
    number = next(i for i, text in enumerate(topology.read_text().splitlines(), 1) if "deadlines_ms:" in text)
    assert f"{topology}:{number}" in line


def test_a_profile_of_another_model_is_refused(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(store, "other", parse_unchecked("g (float[N, 4] x) => (float[N, 4] y) { a = Relu(x) y = Exp(a) }"))
    topology = write_topology(tmp_path / "topology.yaml")
    assert tercet_plan(*arguments(tmp_path, store, topology, "--frames", "40")) == 0
    (kept,) = (store.root / "measurements").glob("Profile-*.json")
    profile = tmp_path / "device.yaml"
    write_document(read_document(Profile, kept), profile)
    line = refused(tmp_path, store, capsys, "other", "--topology", str(topology), "--profile", f"device={profile}")
    assert "another" in line
    assert "tercet profile other --tier device" in line


def test_a_plan_table_is_printed_and_all_its_plans_are_deployed(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = write_topology(tmp_path / "topology.yaml")
    conditions = tmp_path / "conditions.yaml"
    grid = {
        "device_edge_mbps": [0.1, 1000],
        "edge_cloud_mbps": [20],
        "edge_cloud_round_trip_ms": [5],
        "deadline_ms": [],
    }
    conditions.write_text(yaml.safe_dump(grid), encoding="utf-8")
    given = ("--frames", "40", "--table", "--conditions", str(conditions))
    assert tercet_plan(*arguments(tmp_path, store, topology, *given)) == 0
    assert "Plan table" in capsys.readouterr().out
    table = json.loads((tmp_path / "plan.json").read_text())["table"]
    assert len(table["conditions"]) == 2
    deployment = read_deployment(tmp_path / "deployment.yaml")
    assert {plan.id for plan in deployment.plans} >= set(table["plans"])
    CutModel.open(deployment, store, threads=1, providers=DEFAULT_PROVIDERS).load_for(Tier.DEVICE)
