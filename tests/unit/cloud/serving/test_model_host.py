from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support.tiny_model import BOUNDARIES, OUTPUT, tiny_boundary, tiny_deployment, tiny_input, tiny_reference
from tercet.codecs.codec import Array, Float32Array
from tercet.errors import (
    ContractError,
    DeadlineError,
    IntegrityError,
    InvariantError,
    NotFoundError,
    SpecError,
    TensorContractError,
    TercetError,
    WireFormatError,
)
from tercet.models.manifest import Boundary, Manifest, Segment, TensorSpec
from tercet.models.store import Store
from tercet.plans import Deployment, Plan
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.v1 import inference_pb2
from tercet.wire.messages import Answer, Frame
from tercet_cloud.serving.model_host import ModelHost, check_segments

# fp16 rounds to 11 bits, int8 to half a step of about 1/60 of the range; the last layer adds 8 of them up.
TOLERANCE = {"raw": 0.0, "fp16": 0.01, "int8": 0.1}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def deployment(store: Store) -> Deployment:
    return tiny_deployment(store)


@pytest.fixture
def host(deployment: Deployment, store: Store) -> ModelHost:
    return ModelHost([deployment], store, node="cloud-1")


def sealed_frame(
    deployment: Deployment, x: Float32Array, *, plan: str = "raw", boundary: int = 2, **fields: object
) -> bytes:
    """A frame that carries what the tiers before the cloud make of `x`."""
    header = pb.FrameHeader(model=deployment.model, plan=plan, boundary=boundary, node="device-1")
    for name, value in fields.items():
        setattr(header, name, value)
    tensors: dict[str, Array] = {BOUNDARIES[boundary][0]: tiny_boundary(x, boundary)}
    return Frame.encode(header, tensors, deployment.plan(plan).codecs.edge_cloud).seal()


def refusal(sealed: bytes) -> TercetError:
    with pytest.raises(TercetError) as caught:
        Answer.open(sealed).outputs()
    return caught.value


def visit_of(sealed: bytes) -> pb.Visit:
    (visit,) = Answer.open(sealed).header.route.visits
    return visit


@pytest.mark.parametrize("plan", ["raw", "fp16", "int8"])
def test_an_answer_is_what_the_uncut_model_gives(host: ModelHost, deployment: Deployment, plan: str) -> None:
    x = tiny_input()
    (sealed,) = host.answer([sealed_frame(deployment, x, plan=plan)])
    outputs = Answer.open(sealed).outputs()
    assert outputs.keys() == {OUTPUT}
    np.testing.assert_allclose(outputs[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=TOLERANCE[plan] + 1e-5)


def test_an_answer_names_its_frame_and_its_visit(host: ModelHost, deployment: Deployment) -> None:
    frame = sealed_frame(deployment, tiny_input(), sequence=7)
    (sealed,) = host.answer([frame], [time.perf_counter() - 0.05])
    header = Answer.open(sealed).header
    assert (header.model, header.plan, header.node, header.sequence) == (deployment.model, "raw", "device-1", 7)
    visit = visit_of(sealed)
    assert (visit.tier, visit.node, visit.received_bytes) == (Tier.CLOUD.wire, "cloud-1", len(frame))
    assert (visit.from_boundary, visit.to_boundary, visit.batch_size) == (2, 3, 1)
    assert visit.queue_us >= 50_000
    assert visit.total_us >= visit.queue_us + visit.decode_us + visit.compute_us + visit.encode_us


def test_frames_of_equal_shape_share_one_run(host: ModelHost, deployment: Deployment) -> None:
    inputs = [tiny_input(seed) for seed in range(5)]
    answers = host.answer([sealed_frame(deployment, x) for x in inputs])
    for x, sealed in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(
            Answer.open(sealed).outputs()[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=1e-5
        )
        assert visit_of(sealed).batch_size == 5


def test_frames_of_other_shapes_boundaries_or_plans_are_answered_in_order(
    host: ModelHost, deployment: Deployment
) -> None:
    inputs = [tiny_input(1), tiny_input(2, rows=3), tiny_input(3), tiny_input(4), tiny_input(5, rows=3)]
    frames = [
        sealed_frame(deployment, inputs[0]),
        sealed_frame(deployment, inputs[1]),
        sealed_frame(deployment, inputs[2], plan="fp16"),
        sealed_frame(deployment, inputs[3], plan="cloud-only", boundary=0),
        sealed_frame(deployment, inputs[4]),
    ]
    answers = host.answer(frames)
    for x, sealed in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(
            Answer.open(sealed).outputs()[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=0.01
        )
    assert [visit_of(sealed).batch_size for sealed in answers] == [2, 2, 2, 1, 2]


def test_a_bad_frame_costs_only_its_own_sender(host: ModelHost, deployment: Deployment) -> None:
    x = tiny_input()
    good = sealed_frame(deployment, x)
    flipped = bytearray(good)
    flipped[-1] ^= 1
    answers = host.answer([good, bytes(flipped), b"", good])
    assert isinstance(refusal(answers[1]), WireFormatError)
    assert isinstance(refusal(answers[2]), WireFormatError)
    assert Answer.open(answers[1]).header.model == ""
    assert visit_of(answers[1]).received_bytes == len(good)
    for sealed in (answers[0], answers[3]):
        assert Answer.open(sealed).outputs().keys() == {OUTPUT}
        assert visit_of(sealed).batch_size == 2


def test_an_unknown_model_or_plan_is_refused_with_what_there_is(host: ModelHost, deployment: Deployment) -> None:
    header = pb.FrameHeader(model="tiny@000000000000", plan="raw", boundary=2, sequence=3)
    unknown_model = Frame.encode(header, {"squeezed": tiny_boundary(tiny_input(), 2)}, "raw").seal()
    header = pb.FrameHeader(model=deployment.model, plan="best", boundary=2)
    unknown_plan = Frame.encode(header, {"squeezed": tiny_boundary(tiny_input(), 2)}, "raw").seal()
    answers = host.answer([unknown_model, unknown_plan])
    assert isinstance(refusal(answers[0]), NotFoundError)
    assert deployment.model in str(refusal(answers[0]))
    assert Answer.open(answers[0]).header.sequence == 3
    assert isinstance(refusal(answers[1]), NotFoundError)
    assert "edge-only" in str(refusal(answers[1]))


@pytest.mark.parametrize("boundary", [0, 1, 3])
def test_a_frame_enters_the_cloud_where_its_plan_says_and_nowhere_else(
    host: ModelHost, deployment: Deployment, boundary: int
) -> None:
    (elsewhere,) = host.answer([sealed_frame(deployment, tiny_input(), boundary=boundary)])
    error = refusal(elsewhere)
    assert type(error) is ContractError
    assert "boundary 2" in str(error)


def test_a_plan_that_leaves_the_cloud_nothing_returns_the_tensors(host: ModelHost, deployment: Deployment) -> None:
    x = tiny_input()
    (sealed,) = host.answer([sealed_frame(deployment, x, plan="edge-only", boundary=3)])
    np.testing.assert_array_equal(Answer.open(sealed).outputs()[OUTPUT], tiny_boundary(x, 3))


def test_a_frame_whose_time_passed_in_the_queue_is_not_computed(host: ModelHost, deployment: Deployment) -> None:
    frame = sealed_frame(deployment, tiny_input(), deadline_ms=20)
    late, in_time = host.answer([frame, frame], [time.perf_counter() - 1, time.perf_counter()])
    assert isinstance(refusal(late), DeadlineError)
    assert visit_of(late).compute_us == 0
    assert Answer.open(in_time).outputs().keys() == {OUTPUT}


def test_tensors_that_are_not_the_boundary_are_refused(host: ModelHost, deployment: Deployment) -> None:
    header = pb.FrameHeader(model=deployment.model, plan="raw", boundary=2)
    wrong = Frame.encode(header, {"squeezed": np.zeros((1, 9), np.float32)}, "raw").seal()
    answers = host.answer([wrong, sealed_frame(deployment, tiny_input()), wrong])
    assert [type(refusal(answers[index])) for index in (0, 2)] == [TensorContractError] * 2
    assert Answer.open(answers[1]).outputs().keys() == {OUTPUT}


def test_a_model_with_a_fixed_first_axis_is_never_batched(store: Store, deployment: Deployment) -> None:
    manifest = store.manifest(deployment.model)
    fixed = manifest.model_copy(
        update={
            "boundaries": tuple(
                Boundary(tensors=(TensorSpec(name=name, dtype="float32", shape=(1, size)),))
                for name, size in BOUNDARIES
            )
        }
    )
    fixed = Manifest.model_validate(fixed.model_dump())
    store.add_manifest(fixed)
    pinned = deployment.model_copy(update={"model": fixed.ref})
    answers = ModelHost([pinned], store, node="c").answer([sealed_frame(pinned, tiny_input())] * 3)
    assert [visit_of(sealed).batch_size for sealed in answers] == [1, 1, 1]
    assert all(Answer.open(sealed).outputs().keys() == {OUTPUT} for sealed in answers)


def test_a_frame_that_fails_in_a_shared_run_costs_only_its_own_sender(store: Store) -> None:
    lookup = lookup_deployment(store)
    host = ModelHost([lookup], store, node="c")

    def frame(row: int) -> bytes:
        header = pb.FrameHeader(model=lookup.model, plan="all", boundary=0)
        return Frame.encode(header, {"row": np.array([row], np.int64)}, "raw").seal()

    answers = host.answer([frame(0), frame(99), frame(1)])
    assert isinstance(refusal(answers[1]), InvariantError)
    np.testing.assert_array_equal(Answer.open(answers[0]).outputs()["picked"], [[0, 1]])
    np.testing.assert_array_equal(Answer.open(answers[2]).outputs()["picked"], [[2, 3]])


def lookup_deployment(store: Store) -> Deployment:
    """A model that picks rows of a 4×2 table and fails for rows that are not there."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "row"], ["picked"], axis=0)],
        "lookup",
        [helper.make_tensor_value_info("row", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("picked", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx_bytes = bytes(model.SerializeToString())
    address = store.add_segment(onnx_bytes)
    manifest = Manifest(
        model="lookup",
        model_sha256=address,
        boundaries=(
            Boundary(tensors=(TensorSpec(name="row", dtype="int64", shape=(None,)),)),
            Boundary(tensors=(TensorSpec(name="picked", dtype="float32", shape=(None, 2)),)),
        ),
        segments=(Segment(sha256=address, size_bytes=len(onnx_bytes), inputs=("row",), outputs=("picked",)),),
    )
    store.add_manifest(manifest)
    return Deployment(model=manifest.ref, plans=(Plan(id="all", device_until=0, edge_until=0),))


def test_a_model_that_is_deployed_twice_is_refused(store: Store, deployment: Deployment) -> None:
    with pytest.raises(SpecError, match="deployed twice"):
        ModelHost([deployment, deployment], store, node="c")


def test_a_missing_or_altered_segment_is_found_before_anything_runs(store: Store, deployment: Deployment) -> None:
    assert check_segments([deployment], store) == [deployment.model]
    last = store.segment_path(store.manifest(deployment.model).segments[-1].sha256)
    intact = last.read_bytes()
    last.write_bytes(intact[:-1])
    with pytest.raises(IntegrityError, match="slice or fetch again"):
        check_segments([deployment], store)
    last.unlink()
    with pytest.raises(NotFoundError):
        ModelHost([deployment], store, node="c")


def test_a_host_describes_what_it_serves(host: ModelHost, deployment: Deployment) -> None:
    described = host.describe()
    assert [served.model for served in described.models] == [deployment.model]
    assert list(described.models[0].plans) == ["raw", "fp16", "int8", "edge-only", "cloud-only"]
    assert described.max_frame_bytes > 64 << 20


def test_a_request_for_a_plan_table_that_makes_no_sense_is_refused_with_the_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployment = tiny_deployment(store)
    host = ModelHost([deployment], store, node="cloud-1")
    for request, expected in (
        (inference_pb2.ReplanRequest(model=deployment.model, node="cam-1"), "pace"),
        (
            inference_pb2.ReplanRequest(
                model="other@0123456789ab", node="cam-1", device_pace=1, edge_pace=1, cloud_pace=1, ratio=1
            ),
            "does not serve",
        ),
        (
            inference_pb2.ReplanRequest(
                model=deployment.model, node="cam-1", device_pace=1, edge_pace=1, cloud_pace=1, ratio=1
            ),
            "no block costs",
        ),
    ):
        refusal = Answer.open(host.replan(request)).refusal
        assert refusal is not None
        assert expected in str(refusal)
