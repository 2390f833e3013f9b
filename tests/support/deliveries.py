"""Durable frames of the tiny model, as an edge hands them to the cloud."""

from __future__ import annotations

from collections.abc import Iterable

from support.tiny_model import BOUNDARIES, tiny_boundary
from tercet.codecs.codec import Array, Float32Array
from tercet.plans import Deployment
from tercet.v1 import delivery_pb2
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame


def durable_frame(
    deployment: Deployment,
    x: Float32Array,
    sequence: int = 1,
    *,
    node: str = "cam-1",
    plan: str = "raw",
    boundary: int = 2,
    model: str | None = None,
    codec: str = "raw",
    deadline_ms: int = 0,
) -> bytes:
    """A sealed frame that carries what the tiers before make of `x`."""
    header = pb.FrameHeader(
        model=model or deployment.model,
        plan=plan,
        boundary=boundary,
        node=node,
        sequence=sequence,
        delivery=pb.DELIVERY_CLASS_DURABLE,
        deadline_ms=deadline_ms,
    )
    tensors: dict[str, Array] = {BOUNDARIES[boundary][0]: tiny_boundary(x, boundary)}
    if codec.startswith("delta"):
        frame = Frame.encode(header, tensors, "raw")
        for tensor in frame.header.tensors:
            tensor.codec = codec
        return frame.seal()
    return Frame.encode(header, tensors, codec).seal()


def request_of(frames: Iterable[bytes], *, resends: int = 0, age_ms: int = 0) -> delivery_pb2.DeliverRequest:
    """One call with `frames`, whose ages are known by a monotonic clock."""
    source = delivery_pb2.AGE_SOURCE_MONOTONIC
    return delivery_pb2.DeliverRequest(
        deliveries=[
            delivery_pb2.Delivery(frame=frame, age_ms=age_ms, age_source=source, resends=resends)
            for frame in frames
        ]
    )
