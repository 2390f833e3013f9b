"""The edge's side of MQTT: takes frames from the shared subscription, publishes answers where they belong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from tercet.clock import Lap
from tercet.errors import OverloadedError, TercetError, WireFormatError
from tercet.links.mqtt import new_properties
from tercet.links.paho_connection import publish
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer
from tercet.wire.topics import answer_topic, device_of, is_replan, shared_infer_filter, shared_replan_filter
from tercet_edge.delivery_port import DeliveryPort
from tercet_edge.intake import Intake
from tercet_edge.node import EdgeNode

log = logging.getLogger(__name__)


class DevicePort:
    """Connects an EdgeNode to a fleet's devices. `serve` is run once per broker connection.

    Args:
        intake: bounds what is held; frames over it are refused at once.
        deliveries: takes durable frames; without it they are left to other edges.
    """

    def __init__(self, node: EdgeNode, fleet: str, intake: Intake, deliveries: DeliveryPort | None = None) -> None:
        self._node = node
        self._fleet = fleet
        self._intake = intake
        self._deliveries = deliveries
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: aiomqtt.Client | None = None
        self._draining = False
        self.answered = self.refused = self.unanswerable = 0

    @property
    def online(self) -> bool:
        return self._client is not None

    @property
    def _filters(self) -> tuple[str, ...]:
        further = self._deliveries.filters if self._deliveries else ()
        return shared_infer_filter(self._fleet), shared_replan_filter(self._fleet), *further

    async def serve(self, client: aiomqtt.Client) -> None:
        """Take frames until the connection is lost."""
        for wanted in self._filters:
            await client.subscribe(wanted, qos=0)
        self._client = client
        try:
            async for message in client.messages:
                if self._deliveries is not None and self._deliveries.owns(str(message.topic)):
                    self._deliveries.take(message, client)
                else:
                    self._take(message)
        finally:
            self._client = None

    async def drain(self, timeout_s: float) -> None:
        """Take no more frames and let those under way finish; what does not is answered by its device."""
        if self._client is not None:
            try:
                for wanted in self._filters:
                    await self._client.unsubscribe(wanted)
            except aiomqtt.MqttError as error:
                log.debug("unsubscribe failed", extra={"reason": str(error)})
        self._draining = True
        if self._deliveries is not None:
            await self._deliveries.drain(timeout_s)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                log.warning("frames left unanswered", extra={"count": len(late)})

    def _take(self, message: aiomqtt.Message) -> None:
        arrived = Lap()
        payload = message.payload
        try:
            reply_to, correlation = self._return_address(message)
        except TercetError as error:
            self.unanswerable += 1
            log.warning("frame without a return address", extra={"reason": str(error)})
            return
        try:
            if self._draining:
                raise OverloadedError("this edge is shutting down", retry_after_s=1.0)
            self._intake.admit(len(payload))
        except OverloadedError as error:
            task = asyncio.create_task(
                self._publish(reply_to, correlation, Answer.of_error(pb.FrameHeader(), error))
            )
        else:
            answer = (
                partial(self._node.replans.answer, payload)
                if is_replan(str(message.topic))
                else partial(self._node.serve, payload, arrived)
            )
            task = asyncio.create_task(self._answer(len(payload), answer, reply_to, correlation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _return_address(self, message: aiomqtt.Message) -> tuple[str, bytes]:
        """Response topic and correlation data. A device may only be answered on its own topic."""
        device = device_of(str(message.topic))
        expected = answer_topic(self._fleet, device)
        reply_to = getattr(message.properties, "ResponseTopic", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        if reply_to != expected or not correlation:
            raise WireFormatError(f"device {device} must ask for its answer on {expected}, with correlation data")
        return expected, correlation

    async def _answer(
        self, size_bytes: int, answer: Callable[[], Awaitable[Answer]], reply_to: str, correlation: bytes
    ) -> None:
        try:
            await self._publish(reply_to, correlation, await answer())
        finally:
            self._intake.release(size_bytes)

    async def _publish(self, reply_to: str, correlation: bytes, answer: Answer) -> None:
        client = self._client
        properties = new_properties(PacketTypes.PUBLISH)
        properties.CorrelationData = correlation
        try:
            if client is None:
                raise aiomqtt.MqttError("the connection to the broker was lost")
            await publish(client, reply_to, answer.seal(), properties=properties)
        except aiomqtt.MqttError as error:
            self.unanswerable += 1
            log.warning("answer not delivered", extra={"topic": reply_to, "reason": str(error)})
            return
        if answer.header.HasField("error"):
            self.refused += 1
        else:
            self.answered += 1
