"""What the edge does with one frame: open, compute its segments, send the rest to the cloud, answer.

If the cloud cannot answer, the edge computes the rest itself where it holds the segments, and says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from tercet.clock import Lap
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel, find_model
from tercet.errors import (
    InvariantError,
    LinkDownError,
    NotFoundError,
    StaleReferenceError,
    TercetError,
    UnavailableError,
)
from tercet.identifiers import ModelRef, NodeId
from tercet.plans import Plan
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import Outgoing, StreamReceiver, StreamSender
from tercet_edge.uplink import Uplink

log = logging.getLogger(__name__)


@dataclass
class _EdgeFrame:
    """One frame at the edge: where its plan takes it, and the clocks of its visit."""

    frame: Frame
    model: CutModel
    plan: Plan
    visit: pb.Visit
    arrived: Lap


class EdgeNode:
    """Serves sealed frames. Holds no connection: the shell around it has the broker.

    Args:
        executor: where segments are computed; its size bounds how many at once.
        uplink: the cloud, or None for an edge that has none.
        fallback: whether to compute the cloud's part here when the cloud cannot.
    """

    def __init__(
        self,
        node: NodeId,
        models: Mapping[ModelRef, CutModel],
        executor: Executor,
        uplink: Uplink | None,
        *,
        uplink_timeout_s: float,
        fallback: bool,
    ) -> None:
        self.node = node
        self._models = models
        self._executor = executor
        self._uplink = uplink
        self._uplink_timeout_s = uplink_timeout_s
        self._fallback = fallback
        self._arriving = StreamReceiver()
        self._onward = StreamSender()

    async def serve(self, sealed: bytes, arrived: Lap) -> Answer:
        """Answer one sealed frame; a frame that can't be served gets an answer that says why.

        Args:
            arrived: a lap started when the frame arrived.
        """
        header = pb.FrameHeader()
        visit = pb.Visit(tier=pb.TIER_EDGE, node=self.node, received_bytes=len(sealed), batch_size=1)
        try:
            frame = Frame.open(sealed)
            header = frame.header
            visit.from_boundary = visit.to_boundary = header.boundary
            model = find_model(self._models, header.model, Tier.EDGE)
            visit.emulated_slowdown = model.pace.claimed
            plan = model.plan_for(header.plan, header.boundary, Tier.EDGE)
            answer = await self._route(_EdgeFrame(frame, model, plan, visit, arrived))
        except TercetError as error:
            log.info("frame refused", extra={"device": header.node, "reason": str(error)})
            answer = Answer.of_error(header, error)
        except Exception as error:
            log.exception("frame failed", extra={"device": header.node})
            answer = Answer.of_error(header, error)
        visit.total_us = arrived.take()
        answer.header.route.visits.insert(0, visit)
        return answer

    async def _route(self, at: _EdgeFrame) -> Answer:
        stop = at.plan.edge_until
        if at.plan.passes_edge and stop < at.model.last_boundary:
            # Nothing to compute or to code anew: the frame goes on as it came.
            return await self._ask_cloud(at, Outgoing(at.frame), None)
        boundary = await self._in_executor(self._compute, at, stop)
        if stop == at.model.last_boundary:
            return Answer.of_outputs(at.frame.header, boundary)
        stage = Lap()
        header = pb.FrameHeader()
        header.CopyFrom(at.frame.header)
        header.boundary = stop
        with at.model.pace.slowed():
            onward = self._onward.frame(header, boundary, at.plan.codecs.edge_cloud, at.model.codecs)
        at.visit.encode_us = stage.take()
        return await self._ask_cloud(at, onward, boundary)

    def _compute(self, at: _EdgeFrame, stop: int) -> dict[str, Array]:
        """Decode and run up to boundary `stop`; blocks, so it runs in the executor."""
        at.visit.queue_us = at.arrived.peek()
        stage = Lap()
        with at.model.pace.slowed():
            tensors = self._arriving.decode(at.frame, at.model.codecs)
        # Whoever sent the frame sees by this that it was decoded.
        at.visit.decode_us = max(1, stage.take())
        boundary = at.model.chain.run(tensors, at.frame.header.boundary, stop)
        at.visit.compute_us = stage.take()
        at.visit.to_boundary = stop
        return boundary

    async def _ask_cloud(self, at: _EdgeFrame, onward: Outgoing, boundary: Mapping[str, Array] | None) -> Answer:
        """The cloud's answer to `onward`, or our own if the cloud can't give one and we can."""
        waiting = Lap()
        answer, refusal = None, None
        try:
            answer = await onward.deliver(partial(self._call_cloud, at))
            refusal = answer.refusal
        except TercetError as error:
            refusal = error
        at.visit.beyond_us = waiting.take()
        if isinstance(refusal, StaleReferenceError) and boundary is None and answer is not None:
            # The device's stream, not ours: it knows how to go on.
            return answer
        if isinstance(refusal, UnavailableError) and self._fallback:
            answer = await self._finish_here(at, boundary, refusal) or answer
        if answer is None:
            raise refusal or InvariantError("neither an answer nor a refusal")
        return answer

    async def _call_cloud(self, at: _EdgeFrame, frame: Frame) -> Answer:
        if self._uplink is None:
            raise LinkDownError("this edge has no cloud")
        return await self._uplink.infer(frame.seal(), self._timeout_s(at))

    async def _finish_here(
        self, at: _EdgeFrame, boundary: Mapping[str, Array] | None, cause: UnavailableError
    ) -> Answer | None:
        """The degraded answer; None if this edge does not hold the later segments."""
        try:
            outputs = await self._in_executor(self._compute_rest, at, boundary)
        except NotFoundError as error:
            log.debug("no local fallback", extra={"plan": at.plan.id, "reason": str(error)})
            return None
        answer = Answer.of_outputs(at.frame.header, outputs)
        answer.header.route.degraded = True
        answer.header.route.reason = f"{type(cause).__name__}: {cause}"
        return answer

    def _compute_rest(self, at: _EdgeFrame, boundary: Mapping[str, Array] | None) -> dict[str, Array]:
        stage = Lap()
        tensors = boundary
        if tensors is None:
            with at.model.pace.slowed():
                tensors = self._arriving.decode(at.frame, at.model.codecs)
        outputs = at.model.chain.run(tensors, at.plan.edge_until, at.model.last_boundary)
        at.visit.compute_us += stage.take()
        at.visit.to_boundary = at.model.last_boundary
        return outputs

    def _timeout_s(self, at: _EdgeFrame) -> float:
        """What is left of the frame's deadline, at most the uplink's own limit, at least a millisecond."""
        deadline_ms = at.frame.header.deadline_ms
        if not deadline_ms:
            return self._uplink_timeout_s
        return min(self._uplink_timeout_s, max(0.001, deadline_ms / 1000 - at.arrived.peek() / 1e6))

    async def _in_executor(self, function: Callable[..., dict[str, Array]], *arguments: object) -> dict[str, Array]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
