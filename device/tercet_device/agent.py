"""The device agent: runs the head segments, sends the boundary to the edge, waits for the answer.

When nobody answers in time, or the answer is that it can't be served now, the agent computes the rest itself if
it has the segments, and says so in the route.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from tercet.clock import Lap
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel
from tercet.errors import (
    DeadlineError,
    InvariantError,
    LinkDownError,
    NotFoundError,
    TercetError,
    UnavailableError,
)
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_properties, stay_connected
from tercet.plans import Plan
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import StreamSender
from tercet.wire.topics import answer_topic, infer_topic
from tercet_device.pending import PendingFrames

log = logging.getLogger(__name__)


@dataclass
class _FrameRun:
    """One frame on its way: its plan, this tier's visit and the clocks of its stages."""

    sequence: int
    plan: Plan
    visit: pb.Visit
    stage: Lap = field(default_factory=Lap)
    whole: Lap = field(default_factory=Lap)


class DeviceAgent:
    """One device's way into the network. Use as `async with agent.connected(): await agent.infer(…)`.

    Args:
        deadline_s: how long the tiers beyond may take for one frame.
        fallback: whether to compute the rest here when they fail.
    """

    def __init__(
        self,
        node: NodeId,
        fleet: str,
        model: CutModel,
        *,
        deadline_s: float,
        fallback: bool,
    ) -> None:
        self.node = node
        self.model = model
        self._fleet = fleet
        self._deadline_s = deadline_s
        self._fallback = fallback
        self._pending = PendingFrames()
        self.streams = StreamSender()
        self._client: aiomqtt.Client | None = None
        self._online = asyncio.Event()
        self._compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="segments")
        self._sequence = 0

    @asynccontextmanager
    async def connected(
        self, broker: BrokerUrl, retained: Mapping[str, bytes] | None = None
    ) -> AsyncIterator[None]:
        """Keep a connection to the broker while entered; does not wait for the first one.

        Args:
            retained: what to say of this node at every connection, see `stay_connected`.
        """
        link = asyncio.create_task(stay_connected(broker, self.node, self._fleet, self._receive, retained=retained))
        try:
            yield
        finally:
            link.cancel()
            with suppress(asyncio.CancelledError):
                await link
            self._compute.shutdown(wait=True, cancel_futures=True)

    @property
    def compute(self) -> Executor:
        """Where segments are computed, one at a time."""
        return self._compute

    async def wait_online(self, timeout_s: float) -> None:
        """Return once answers can be received; LinkDownError after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._online.wait()
        except TimeoutError as error:
            raise LinkDownError(f"no connection to the broker within {timeout_s:g} s") from error

    @property
    def online(self) -> bool:
        return self._online.is_set()

    @property
    def unexpected_answers(self) -> int:
        """Answers that came too late or twice."""
        return self._pending.unexpected

    async def infer(self, inputs: Mapping[str, Array], plan: Plan) -> Answer:
        """Answer one frame.

        Args:
            inputs: the tensors of boundary 0.
        Returns:
            the outputs, with a route that starts at this device.
        Raises:
            ContractError: the frame is wrong; another tier's refusal included.
            UnavailableError: nobody could answer it, this device included.
        If cancelled, the frame may still be computed elsewhere; its answer is then counted as unexpected.
        """
        self._sequence += 1
        visit = pb.Visit(
            tier=pb.TIER_DEVICE, node=self.node, batch_size=1, emulated_slowdown=self.model.pace.claimed
        )
        run = _FrameRun(self._sequence, plan, visit)
        boundary = await self._run(inputs, 0, plan.device_until)
        run.visit.compute_us = run.stage.take()
        if plan.device_until == self.model.last_boundary:
            return self._own_answer(boundary, run)
        header = self._header(run, plan.device_until)
        with self.model.pace.slowed():
            outgoing = self.streams.frame(header, boundary, plan.codecs.device_edge, self.model.codecs)
        run.visit.to_boundary = plan.device_until
        run.visit.encode_us = run.stage.take()
        answer, refusal = None, None
        try:
            answer = await outgoing.deliver(partial(self._ask, time.monotonic() + self._deadline_s))
            refusal = answer.refusal
        except UnavailableError as error:
            refusal = error
        run.visit.beyond_us = run.stage.take()
        if isinstance(refusal, UnavailableError) and self._fallback:
            answer = await self._finish_here(boundary, run, refusal) or answer
        if answer is None:
            raise refusal or InvariantError("neither an answer nor a refusal")
        if not any(visit.tier == pb.TIER_DEVICE for visit in answer.header.route.visits):
            run.visit.total_us = run.whole.take()
            answer.header.route.visits.insert(0, run.visit)
        return answer

    async def _finish_here(
        self, boundary: Mapping[str, Array], run: _FrameRun, cause: UnavailableError
    ) -> Answer | None:
        """The degraded answer; None if this device does not hold the later segments."""
        try:
            outputs = await self._run(boundary, run.plan.device_until, self.model.last_boundary)
        except NotFoundError as error:
            log.debug("no local fallback", extra={"plan": run.plan.id, "reason": str(error)})
            return None
        run.visit.compute_us += run.stage.take()
        answer = self._own_answer(outputs, run)
        answer.header.route.degraded = True
        answer.header.route.reason = f"{type(cause).__name__}: {cause}"
        return answer

    def _own_answer(self, outputs: Mapping[str, Array], run: _FrameRun) -> Answer:
        run.visit.to_boundary = self.model.last_boundary
        run.visit.total_us = run.whole.take()
        answer = Answer.of_outputs(self._header(run, run.visit.to_boundary), outputs)
        answer.header.route.visits.append(run.visit)
        return answer

    def _header(self, run: _FrameRun, boundary: int) -> pb.FrameHeader:
        return pb.FrameHeader(
            model=self.model.manifest.ref,
            plan=run.plan.id,
            boundary=boundary,
            delivery=pb.DELIVERY_CLASS_REALTIME,
            node=self.node,
            sequence=run.sequence,
            deadline_ms=round(self._deadline_s * 1000),
        )

    async def _run(self, tensors: Mapping[str, Array], start: int, stop: int) -> Mapping[str, Array]:
        if start == stop:
            return tensors
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._compute, self.model.chain.run, tensors, start, stop)

    async def _ask(self, until_s: float, frame: Frame) -> Answer:
        """The answer to `frame`, if it comes before `until_s` of `time.monotonic`."""
        sequence = frame.header.sequence
        left_s = max(0.0, until_s - time.monotonic())
        frame.header.deadline_ms = max(1, round(left_s * 1000))
        sealed = frame.seal()
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = answer_topic(self._fleet, self.node)
        correlation, future = self._pending.expect(sequence)
        properties.CorrelationData = correlation
        try:
            async with asyncio.timeout(left_s):
                await self._online.wait()
                client = self._client
                if client is None:
                    raise LinkDownError("the broker went away")
                await client.publish(infer_topic(self._fleet, self.node), sealed, properties=properties)
                return await future
        except TimeoutError as error:
            where = "the edge did not answer" if self.online else "the broker could not be reached"
            raise DeadlineError(f"frame {sequence}: {where} within {self._deadline_s:g} s") from error
        except aiomqtt.MqttError as error:
            raise LinkDownError(f"frame {sequence} could not be published: {error}") from error
        finally:
            self._pending.forget(correlation)

    async def _receive(self, client: aiomqtt.Client) -> None:
        await client.subscribe(answer_topic(self._fleet, self.node), qos=0)
        self._client = client
        self._online.set()
        try:
            async for message in client.messages:
                self._on_answer(message)
        finally:
            self._online.clear()
            self._client = None
            self._pending.fail_all(LinkDownError("the connection to the broker was lost"))

    def _on_answer(self, message: aiomqtt.Message) -> None:
        try:
            answer = Answer.open(message.payload)
        except TercetError as error:
            log.warning("answer refused", extra={"reason": str(error)})
            self._pending.unexpected += 1
            return
        correlation = getattr(message.properties, "CorrelationData", None)
        self._pending.resolve(correlation, answer)
