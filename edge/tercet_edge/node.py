"""What the edge does with one frame: open, compute its segments, send the rest to the cloud, answer.

If the cloud cannot answer, the edge computes the rest itself where it holds the segments, and says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from weakref import WeakKeyDictionary

from tercet.adaptive.condition_tracker import ConditionTracker
from tercet.cascade.open_cascade import OpenCascade, find_cascade
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
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import Outgoing, StreamReceiver, StreamSender
from tercet_edge.cascade_step import CascadeStep
from tercet_edge.edge_frame import EdgeFrame, run_key
from tercet_edge.micro_batch import MicroBatcher
from tercet_edge.onward import OnwardChoice
from tercet_edge.replan_relay import ReplanRelay
from tercet_edge.uplink import Uplink

log = logging.getLogger(__name__)

REPLAN_TIMEOUT_S = 10.0


class EdgeNode:
    """Serves sealed frames. Holds no connection: the shell around it has the broker.

    Args:
        models: looked up for every frame: may change.
        batcher: computes segments, frames of several devices together.
        uplink: the cloud, or None for an edge that has none.
        fallback: whether to compute the cloud's part here when the cloud cannot.
        cascades: that frames may be of.
    """

    def __init__(
        self,
        node: NodeId,
        models: Mapping[ModelRef, CutModel],
        batcher: MicroBatcher,
        uplink: Uplink | None,
        *,
        uplink_timeout_s: float,
        fallback: bool,
        cascades: Sequence[OpenCascade] = (),
    ) -> None:
        self.node = node
        self._models = models
        self._batcher = batcher
        self._uplink = uplink
        self._uplink_timeout_s = uplink_timeout_s
        self._fallback = fallback
        self._onward_choices: WeakKeyDictionary[CutModel, OnwardChoice] = WeakKeyDictionary()
        self._cascades: dict[str, OpenCascade] = {}
        self.replace_cascades(cascades)
        self._cascade_step = CascadeStep(self._compute, self._route, fallback=fallback)
        self.tracker = ConditionTracker(Tier.EDGE)
        self.replans = ReplanRelay(models, uplink, self.tracker, timeout_s=REPLAN_TIMEOUT_S)
        self._arriving = StreamReceiver()
        self._onward = StreamSender()

    def replace_cascades(self, cascades: Sequence[OpenCascade]) -> None:
        """Take frames of these from now on."""
        self._cascades = {cascade.ref: cascade for cascade in cascades}

    def _onward_choice(self, model: CutModel) -> OnwardChoice:
        if model not in self._onward_choices:
            self._onward_choices[model] = OnwardChoice(model.deployment)
        return self._onward_choices[model]

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
            answer = Answer.of_outputs(header, {}) if header.probe else await self._serve(frame, visit, arrived)
        except TercetError as error:
            log.info("frame refused", extra={"device": header.node, "reason": str(error)})
            answer = Answer.of_error(header, error)
        except Exception as error:
            log.exception("frame failed", extra={"device": header.node})
            answer = Answer.of_error(header, error)
        visit.expected_queue_us = round(self._batcher.queue_ms * 1000)
        if self._uplink is not None:
            visit.uplink.CopyFrom(self.tracker.report(time.monotonic()))
        visit.total_us = arrived.take()
        answer.header.route.visits.insert(0, visit)
        return answer

    async def _serve(self, frame: Frame, visit: pb.Visit, arrived: Lap) -> Answer:
        header = frame.header
        if header.cascade:
            cascade = find_cascade(self._cascades, header.cascade, Tier.EDGE)
            stage = cascade.stage_of(header)
            # Frames for a stage in the cloud go the way of any other.
            if stage.spec.tier == Tier.EDGE:
                return await self._cascade_step.serve(cascade, stage, frame, visit, arrived)
        model = find_model(self._models, header.model, Tier.EDGE)
        visit.emulated_slowdown = model.pace.claimed
        asked = model.plan_for(header, Tier.EDGE)
        left_ms = header.deadline_ms - arrived.peek() / 1000 if header.deadline_ms else None
        conditions = self.tracker.conditions(time.monotonic(), online=self._uplink is not None)
        plan = self._onward_choice(model).choose(asked, conditions, left_ms)
        # The answer names the plan that was used.
        if plan is not asked:
            header.plan = plan.id
            header.ClearField("plan_spec")
        return await self._route(EdgeFrame(frame, model, plan, visit, arrived))

    async def _route(self, at: EdgeFrame) -> Answer:
        stop = at.plan.edge_until
        if at.plan.passes_edge and stop < at.model.last_boundary:
            # Nothing to compute or to code anew: the frame goes on as it came.
            return await self._ask_cloud(at, Outgoing(at.frame), None)
        boundary = await self._compute(at, stop)
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

    async def _compute(self, at: EdgeFrame, stop: int) -> Mapping[str, Array]:
        """Decode and run up to boundary `stop`, together with like frames."""
        start = at.frame.header.boundary
        deadline_ms = at.frame.header.deadline_ms
        left_s = deadline_ms / 1000 - at.arrived.peek() / 1e6 if deadline_ms else inf
        computed = await self._batcher.compute(
            at.model.chain,
            start,
            stop,
            partial(self._decode, at),
            key=run_key(at.frame.header, at.model, start, stop, staged=at.stage is not None),
            deadline_s=time.monotonic() + left_s,
            durable=at.frame.header.delivery == pb.DELIVERY_CLASS_DURABLE,
        )
        # Added: a stage of a cascade may have been computed for this frame before.
        at.visit.queue_us += computed.queue_us
        # Whoever sent the frame sees by this that it was decoded.
        at.visit.decode_us += computed.decode_us
        at.visit.compute_us += computed.compute_us
        at.visit.batch_size = computed.batch_size
        at.visit.to_boundary = stop
        return computed.outputs

    def _decode(self, at: EdgeFrame) -> Mapping[str, Array]:
        """The frame's tensors; blocks, so it runs in a compute thread."""
        with at.model.pace.slowed():
            tensors = self._arriving.decode(at.frame, at.model.codecs)
            return at.stage.adapt(tensors) if at.stage else tensors

    async def _ask_cloud(self, at: EdgeFrame, onward: Outgoing, boundary: Mapping[str, Array] | None) -> Answer:
        """The cloud's answer to `onward`, or our own if the cloud can't give one and we can."""
        waiting = Lap()
        answer, refusal = None, None
        try:
            answer = await onward.deliver(partial(self._call_cloud, at))
            refusal = answer.refusal
        except TercetError as error:
            refusal = error
        at.visit.beyond_us = waiting.take()
        self._learn(at, answer)
        if isinstance(refusal, StaleReferenceError) and boundary is None and answer is not None:
            # The device's stream, not ours: it knows how to go on.
            return answer
        if isinstance(refusal, UnavailableError) and self._fallback and at.fallback:
            answer = await self._finish_here(at, boundary, refusal) or answer
        if answer is None:
            raise refusal or InvariantError("neither an answer nor a refusal")
        return answer

    def _learn(self, at: EdgeFrame, answer: Answer | None) -> None:
        now_s = time.monotonic()
        if answer is None:
            self.tracker.first_link.lost(now_s)
            return
        size_bytes = answer.header.ByteSize() + sum(len(payload) for payload in answer.payloads)
        self.tracker.learn([at.visit, *answer.header.route.visits], size_bytes, now_s, at.plan.predicted)

    async def _call_cloud(self, at: EdgeFrame, frame: Frame) -> Answer:
        if self._uplink is None:
            raise LinkDownError("this edge has no cloud")
        return await self._uplink.infer(frame.seal(), self._timeout_s(at))

    async def _finish_here(
        self, at: EdgeFrame, boundary: Mapping[str, Array] | None, cause: UnavailableError
    ) -> Answer | None:
        """The degraded answer; None if this edge does not hold the later segments."""
        prepare = partial(self._decode, at) if boundary is None else lambda: boundary
        stage = Lap()
        try:
            computed = await self._batcher.compute(
                at.model.chain, at.plan.edge_until, at.model.last_boundary, prepare, key=None, deadline_s=inf
            )
        except NotFoundError as error:
            log.debug("no local fallback", extra={"plan": at.plan.id, "reason": str(error)})
            return None
        at.visit.compute_us += stage.take()
        at.visit.to_boundary = at.model.last_boundary
        answer = Answer.of_outputs(at.frame.header, computed.outputs)
        answer.header.route.degraded = True
        answer.header.route.reason = f"{type(cause).__name__}: {cause}"
        return answer

    def _timeout_s(self, at: EdgeFrame) -> float:
        """What is left of the frame's deadline, at most the uplink's own limit, at least a millisecond."""
        deadline_ms = at.frame.header.deadline_ms
        if not deadline_ms:
            return self._uplink_timeout_s
        return min(self._uplink_timeout_s, max(0.001, deadline_ms / 1000 - at.arrived.peek() / 1e6))
