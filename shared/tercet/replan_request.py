"""Asking for another plan table: what a node whose predictions do not hold says of itself and its links.

The answer is a sealed answer whose one tensor is a deployment as JSON, or a refusal; so it crosses MQTT and gRPC as
answers to frames do, with the same limits and errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
from google.protobuf.message import DecodeError

from tercet.adaptive.condition_tracker import UNKNOWN_LINK
from tercet.adaptive.link_estimate import LinkEstimate
from tercet.documents import parse_document
from tercet.errors import SpecError, WireFormatError
from tercet.identifiers import ModelRef, NodeId, check_name
from tercet.limits import MAX_NAME_CHARS
from tercet.plans import Deployment
from tercet.printable import printable
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.v1 import inference_pb2
from tercet.wire.messages import Answer

TENSOR = "deployment"
MAX_REQUEST_BYTES = 64 * 1024
MAX_SEGMENTS = 4096
_PACES = (1e-3, 1e3)


@dataclass(frozen=True)
class ReplanQuestion:
    """One request.

    Attributes:
        paces: by tier, time needed over what the planner measured; tiers that nothing is known of are left out.
        device_edge, edge_cloud: None: nothing is known of the link.
        deadline_ms: None for none.
        ratio: actual over predicted time, why the node asks.
        device_segments: how many from the first one the device holds.
        edge_segments: which ones the edge holds.
    Raises:
        SpecError: numbers that cannot be, NaN among them.
    """

    model: ModelRef
    node: NodeId
    paces: Mapping[Tier, float] = field(default_factory=dict)
    device_edge: LinkEstimate | None = None
    edge_cloud: LinkEstimate | None = None
    deadline_ms: float | None = None
    ratio: float = 1.0
    device_segments: int = 0
    edge_segments: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for what, pace in [
            *((f"the {tier}'s pace", pace) for tier, pace in self.paces.items()),
            ("ratio", self.ratio),
        ]:
            if not (isfinite(pace) and _PACES[0] <= pace <= _PACES[1]):
                raise SpecError(f"{what} of {pace} is no estimate: it must be from {_PACES[0]:g} to {_PACES[1]:g}")
        if self.deadline_ms is not None and not (isfinite(self.deadline_ms) and self.deadline_ms > 0):
            raise SpecError(f"a deadline of {self.deadline_ms} ms is none")
        held = [self.device_segments, *self.edge_segments]
        if len(held) > MAX_SEGMENTS or min(held) < 0 or max(held) > MAX_SEGMENTS:
            raise SpecError(f"a node that holds such segments is none: at most {MAX_SEGMENTS} are counted")

    def of_edge(self, edge_segments: frozenset[int], edge_cloud: LinkEstimate | None) -> ReplanQuestion:
        """The same question with what the edge on the way knows better."""
        return replace(self, edge_segments=edge_segments, edge_cloud=edge_cloud or self.edge_cloud)

    def to_wire(self) -> inference_pb2.ReplanRequest:
        return inference_pb2.ReplanRequest(
            model=self.model,
            node=self.node,
            deadline_ms=0 if self.deadline_ms is None else max(1, round(self.deadline_ms)),
            device_pace=self.paces.get(Tier.DEVICE, 1.0),
            edge_pace=self.paces.get(Tier.EDGE, 1.0),
            cloud_pace=self.paces.get(Tier.CLOUD, 1.0),
            device_edge=_to_wire(self.device_edge),
            edge_cloud=_to_wire(self.edge_cloud),
            ratio=self.ratio,
            device_segments=self.device_segments,
            edge_segments=sorted(self.edge_segments),
        )

    @classmethod
    def from_wire(cls, request: inference_pb2.ReplanRequest) -> ReplanQuestion:
        """Raises SpecError for what cannot be."""
        if len(request.model) > MAX_NAME_CHARS or len(request.edge_segments) > MAX_SEGMENTS:
            raise SpecError("a request for a plan table with such a model or so many segments is none")
        return cls(
            model=ModelRef(request.model),
            node=NodeId(check_name(request.node[:MAX_NAME_CHARS], "node")),
            paces={
                Tier.DEVICE: request.device_pace,
                Tier.EDGE: request.edge_pace,
                Tier.CLOUD: request.cloud_pace,
            },
            device_edge=_from_wire(request.device_edge) if request.HasField("device_edge") else None,
            edge_cloud=_from_wire(request.edge_cloud) if request.HasField("edge_cloud") else None,
            deadline_ms=request.deadline_ms or None,
            ratio=request.ratio,
            device_segments=request.device_segments,
            edge_segments=frozenset(request.edge_segments),
        )

    @classmethod
    def parse(cls, data: bytes) -> ReplanQuestion:
        """A peer's bytes. Raises WireFormatError, SpecError."""
        if len(data) > MAX_REQUEST_BYTES:
            raise WireFormatError(
                f"a request for a plan table has at most {MAX_REQUEST_BYTES} bytes, not {len(data)}"
            )
        request = inference_pb2.ReplanRequest()
        try:
            request.ParseFromString(bytes(data))
        except DecodeError as error:
            raise WireFormatError("these bytes are no request for a plan table") from error
        return cls.from_wire(request)

    def conditions(self) -> tuple[LinkEstimate, LinkEstimate]:
        """Both links; what is usual where nothing is known."""
        return self.device_edge or UNKNOWN_LINK, self.edge_cloud or UNKNOWN_LINK


def answer_of(deployment: Deployment) -> Answer:
    """The answer that carries a table."""
    data = deployment.model_dump_json().encode()
    return Answer.of_outputs(pb.FrameHeader(model=deployment.model), {TENSOR: np.frombuffer(data, np.uint8)})


def deployment_in(answer: Answer, model: ModelRef) -> Deployment:
    """The table that an answer carries.

    Raises:
        TercetError: the refusal that it carries instead.
        WireFormatError, SpecError: it carries no table, one without predictions, or one of another model.
    """
    tensors = answer.outputs()
    data = tensors.get(TENSOR)
    if data is None or len(tensors) != 1 or data.dtype != np.uint8 or data.ndim != 1:
        raise WireFormatError("the answer to a request for a plan table carries no table")
    try:
        plain = json.loads(data.tobytes())
    except ValueError as error:
        raise WireFormatError("the answer to a request for a plan table is not JSON") from error
    deployment = parse_document(Deployment, plain, "the plan table that was sent")
    if deployment.model != model:
        raise SpecError(
            f"this plan table is of {printable(deployment.model, MAX_NAME_CHARS)}, not of {model}: are "
            "all tiers deployed alike?"
        )
    if unpredicted := [plan.id for plan in deployment.plans if plan.predicted is None]:
        raise SpecError(f"plan {unpredicted[0]} of the table that was sent has no prediction")
    return deployment


def _to_wire(link: LinkEstimate | None) -> inference_pb2.LinkBelief | None:
    if link is None:
        return None
    return inference_pb2.LinkBelief(
        goodput_mbps=link.goodput_mbps,
        round_trip_ms=link.round_trip_ms,
        spread_ms=link.spread_ms,
        loss=link.loss,
    )


def _from_wire(belief: inference_pb2.LinkBelief) -> LinkEstimate:
    return LinkEstimate(
        goodput_mbps=belief.goodput_mbps,
        round_trip_ms=belief.round_trip_ms,
        loss=belief.loss,
        spread_ms=belief.spread_ms,
        age_s=0.0,
    )
