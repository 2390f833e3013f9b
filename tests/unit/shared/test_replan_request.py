"""Requests for plan tables and their answers, as peers send them."""

from __future__ import annotations

import json
from math import inf, nan

import numpy as np
import pytest

from support.block_costs import tiny_costs
from tercet.adaptive.link_estimate import LinkEstimate
from tercet.errors import LinkDownError, SpecError, WireFormatError
from tercet.identifiers import ModelRef, NodeId
from tercet.plans import Deployment, Plan
from tercet.replan_request import TENSOR, ReplanQuestion, answer_of, deployment_in
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.v1 import inference_pb2
from tercet.wire.messages import Answer

MODEL, OTHER = ModelRef("tiny@0123456789ab"), ModelRef("tiny@ba9876543210")
QUESTION = ReplanQuestion(
    model=MODEL,
    node=NodeId("cam-1"),
    paces={Tier.DEVICE: 3.0, Tier.EDGE: 1.0, Tier.CLOUD: 0.5},
    device_edge=LinkEstimate(20.0, 5.0, loss=0.1, spread_ms=1.0, age_s=0.0),
    deadline_ms=200,
    ratio=2.5,
    device_segments=2,
    edge_segments=frozenset({1, 2}),
)


def table(model: ModelRef = MODEL) -> Deployment:
    plan = tiny_costs(model).plan(1, 3, "fp16", "raw")
    assert plan is not None
    return Deployment(model=model, plans=(plan,))


def test_a_question_arrives_as_it_was_asked() -> None:
    assert ReplanQuestion.parse(QUESTION.to_wire().SerializeToString()) == QUESTION


def test_a_table_arrives_as_it_was_made() -> None:
    assert deployment_in(Answer.open(answer_of(table()).seal()), MODEL) == table()


def changed(**fields: object) -> bytes:
    request = QUESTION.to_wire()
    request.MergeFrom(inference_pb2.ReplanRequest(**fields))  # type: ignore[arg-type]
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (changed(device_pace=nan), "pace of nan"),
        (changed(edge_pace=inf), "pace of inf"),
        (changed(cloud_pace=-1), "pace of -1"),
        (changed(ratio=nan), "ratio of nan"),
        (changed(device_edge=inference_pb2.LinkBelief(goodput_mbps=nan)), "no estimate"),
        (changed(device_edge=inference_pb2.LinkBelief(loss=7)), "no estimate"),
        (changed(edge_cloud=inference_pb2.LinkBelief()), "no estimate"),
        (changed(device_segments=2**32 - 1), "segments"),
        (changed(node="../../etc"), "node"),
        (b"\xff\xff\xff", "no request"),
        (b"x" * 70_000, "at most"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(sent: bytes, expected: str) -> None:
    with pytest.raises((SpecError, WireFormatError), match=expected):
        ReplanQuestion.parse(sent)


def test_a_table_of_another_version_of_the_model_is_refused() -> None:
    with pytest.raises(SpecError, match=f"is of {OTHER}, not of {MODEL}"):
        deployment_in(answer_of(table(OTHER)), MODEL)


def test_a_table_without_predictions_is_refused() -> None:
    bare = Deployment(model=MODEL, plans=(Plan(id="r-1-2-00000000", device_until=1, edge_until=2),))
    with pytest.raises(SpecError, match="no prediction"):
        deployment_in(answer_of(bare), MODEL)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"deployment": np.zeros(4, np.float32)},
        {"deployment": np.frombuffer(b"not json", np.uint8)},
        {"deployment": np.frombuffer(b'{"model": NaN}', np.uint8)},
        {"other": np.zeros(4, np.uint8)},
    ],
)
def test_an_answer_that_carries_no_table_is_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises((WireFormatError, SpecError)):
        deployment_in(Answer.of_outputs(pb.FrameHeader(), tensors), MODEL)


def test_numbers_that_are_none_are_refused_in_a_table() -> None:
    plain = table().model_dump(mode="json")
    plain["plans"][0]["predicted"]["device_ms"] = nan
    data = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    with pytest.raises(SpecError, match="device_ms"):
        deployment_in(Answer.of_outputs(pb.FrameHeader(), {TENSOR: data}), MODEL)


def test_the_refusal_is_raised_as_the_error_that_it_is() -> None:
    with pytest.raises(LinkDownError, match="no cloud"):
        deployment_in(Answer.of_error(pb.FrameHeader(), LinkDownError("no cloud")), MODEL)
