"""The edge's side of MQTT for durable frames: messages of devices in, receipts out.

A message must say on which topic its receipt is awaited, and that must be the receipts' topic of the node whose
frames it holds: nobody's frames are acknowledged to anybody else.
"""

from __future__ import annotations

import asyncio
import logging

import aiomqtt

from tercet.durable.receipts import parse_request
from tercet.errors import OverloadedError, TercetError, WireFormatError
from tercet.identifiers import NodeId
from tercet.links.paho_connection import publish
from tercet.v1 import delivery_pb2 as pb
from tercet.wire.topics import (
    ack_topic,
    custody_topic,
    deliver_topic,
    device_of,
    is_delivery,
    shared_deliver_filter,
)
from tercet_edge.custody import Custody
from tercet_edge.intake import Intake

log = logging.getLogger(__name__)

RETRY_AFTER_S = 0.5


class DeliveryPort:
    """Connects a Custody to a fleet's devices.

    Args:
        intake: bounds what is being taken; more is refused at once.
    """

    def __init__(self, custody: Custody, fleet: str, intake: Intake) -> None:
        self._custody = custody
        self._fleet = fleet
        self._intake = intake
        self._own_topic = custody_topic(fleet, custody.node)
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self.unanswerable = 0

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return shared_deliver_filter(self._fleet), self._own_topic

    def owns(self, topic: str) -> bool:
        """Whether a message on the topic is for this port."""
        return is_delivery(topic)

    def take(self, message: aiomqtt.Message, client: aiomqtt.Client) -> None:
        """Begin to take a message's frames; the receipt goes out by `client`."""
        try:
            device = self._sender(message)
            request = parse_request(message.payload)
        except TercetError as error:
            self.unanswerable += 1
            log.warning("durable frames without a return address", extra={"reason": str(error)})
            return
        size_bytes = len(message.payload)
        try:
            if self._draining:
                raise OverloadedError("this edge is shutting down", retry_after_s=1.0)
            self._intake.admit(size_bytes)
        except OverloadedError as error:
            response = self._custody.refuse(request, OverloadedError(str(error), retry_after_s=RETRY_AFTER_S))
            task = asyncio.create_task(self._publish(client, device, response))
        else:
            task = asyncio.create_task(self._answer(client, device, request, size_bytes))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, timeout_s: float) -> None:
        """Take no more, and let receipts under way go out."""
        self._draining = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()

    def _sender(self, message: aiomqtt.Message) -> NodeId:
        topic = str(message.topic)
        reply_to = getattr(message.properties, "ResponseTopic", None) or ""
        device = device_of(reply_to)
        if reply_to != ack_topic(self._fleet, device):
            raise WireFormatError(
                f"receipts for durable frames go to …/ack topics of this fleet, not to {reply_to}"
            )
        if topic not in (self._own_topic, deliver_topic(self._fleet, device)):
            raise WireFormatError(f"durable frames of {device} came on {topic}")
        return device

    async def _answer(
        self, client: aiomqtt.Client, device: NodeId, request: pb.DeliverRequest, size_bytes: int
    ) -> None:
        try:
            response = await self._custody.take(request, device)
        except TercetError as error:
            log.warning("durable frames not taken", extra={"device": device, "reason": str(error)})
            response = self._custody.refuse(request, error)
        except Exception as error:
            log.exception("durable frames not taken", extra={"device": device})
            response = self._custody.refuse(request, OverloadedError(f"internal error: {type(error).__name__}"))
        finally:
            self._intake.release(size_bytes)
        await self._publish(client, device, response)

    async def _publish(self, client: aiomqtt.Client, device: NodeId, response: pb.DeliverResponse) -> None:
        try:
            await publish(client, ack_topic(self._fleet, device), response.SerializeToString())
        except aiomqtt.MqttError as error:
            # The device sends its frames again, and hears then that they are here.
            self.unanswerable += 1
            log.info("receipt not delivered", extra={"device": device, "reason": str(error)})
