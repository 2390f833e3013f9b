"""A cut model in a pipeline: run by one of its plans, from where the pipeline's tier begins.

On the edge tier the worker is to the edge what a device is: it runs the device's segments and publishes the
boundary. On the cloud tier it runs what comes before the cloud and calls the cloud's gRPC front end, that is a
Ray Serve replica.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import grpc

from tercet.codecs.codec import Array
from tercet.cut_model import CutModel
from tercet.errors import DeadlineError, LinkDownError, SpecError
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.limits import MAX_FRAME_BYTES, MIB
from tercet.models.store import Store
from tercet.plans import Plan, read_deployment
from tercet.v1 import frame_pb2 as pb
from tercet.v1 import inference_pb2, inference_pb2_grpc
from tercet.wire.messages import Answer, Frame
from tercet.wire.topics import infer_topic
from tercet_cloud.dag.call import Call, Circumstances
from tercet_cloud.dag.tier_link import TierLink

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES + MIB),
    ("grpc.max_send_message_length", MAX_FRAME_BYTES + MIB),
]
# Where a node has neither timeout_s nor a deadline.
DEFAULT_S = 30.0


class SplitModel:
    """One deployment and plan, opened. Thread-safe; calls block."""

    def __init__(self, call: Call) -> None:
        assert call.deployment is not None
        deployment = read_deployment(call.deployment)
        self._model = CutModel.open(
            deployment, Store(call.means.store), threads=call.means.threads, providers=DEFAULT_PROVIDERS
        )
        self._plan: Plan = deployment.plan(call.plan) if call.plan else deployment.plans[0]
        self._sequence = itertools.count(1)

    def by_edge(
        self, link: TierLink, tensors: Mapping[str, Array], circumstances: Circumstances
    ) -> dict[str, Array]:
        """The outputs, by any edge of the fleet. Raises what tiers refuse with, LinkDownError, DeadlineError."""
        until = self._plan.device_until
        if until == self._model.last_boundary:
            raise SpecError(f"plan {self._plan.id} leaves nothing to the edge: say `tier: cloud`, or another plan")
        timeout_s = DEFAULT_S if circumstances.time_left_s is None else circumstances.time_left_s
        until_s = time.monotonic() + timeout_s
        sealed = self._frame(tensors, until, self._plan.codecs.device_edge, link.node, timeout_s)
        left_s = max(0.0, until_s - time.monotonic())
        topic = infer_topic(link.fleet, link.node)
        answer = link.ask(topic, sealed, link.frame_answers, left_s, circumstances.name)
        return Answer.open(answer).outputs()

    def by_cloud(self, stub: Any, tensors: Mapping[str, Array], time_left_s: float | None) -> dict[str, Array]:
        """The outputs, by the cloud's front end. Raises as `by_edge`."""
        until = self._plan.edge_until
        if until == self._model.last_boundary:
            return self._model.chain.run(tensors, 0, until)
        timeout_s = DEFAULT_S if time_left_s is None else time_left_s
        sealed = self._frame(tensors, until, self._plan.codecs.edge_cloud, "pipeline", timeout_s)
        try:
            response = stub.Infer(inference_pb2.InferRequest(frame=sealed), timeout=timeout_s)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlineError(f"the cloud did not answer within {timeout_s:.3g} s") from error
            raise LinkDownError(f"the cloud cannot be reached: {error.code().name}: {error.details()}") from error
        return Answer.open(response.answer).outputs()

    def _frame(self, tensors: Mapping[str, Array], until: int, codec: str, node: str, timeout_s: float) -> bytes:
        boundary = self._model.chain.run(tensors, 0, until)
        header = pb.FrameHeader(
            model=self._model.manifest.ref,
            plan=self._plan.id,
            boundary=until,
            node=node,
            sequence=next(self._sequence),
            delivery=pb.DELIVERY_CLASS_REALTIME,
            deadline_ms=max(1, round(timeout_s * 1000)),
        )
        return Frame.encode(header, boundary, codec, self._model.codecs).seal()


def cloud_stub(address: str) -> Any:
    """A stub for the front end at HOST:PORT; it connects when it is first called."""
    channel = grpc.insecure_channel(address, options=_OPTIONS)
    return inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
