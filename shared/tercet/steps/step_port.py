"""The step host on the broker: takes requests, runs a few at a time, answers each where it was asked from."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from tercet.errors import OverloadedError, WireFormatError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import new_properties, stay_connected
from tercet.steps.step_host import StepHost
from tercet.steps.step_message import StepRequest, seal_failure, seal_result
from tercet.tiers import Tier
from tercet.wire.topics import device_of, shared_step_filter, step_topic, stepped_topic

log = logging.getLogger(__name__)

# Requests that wait here; more are refused.
MAX_WAITING = 64
_BUSY_RETRY_S = 0.2


def port_node(node: NodeId) -> NodeId:
    """The name under which a node's step host is connected: the node itself has a connection of its own."""
    return NodeId(f"{node[:57]}.steps")


class StepPort:
    """Serves one node's steps.

    Args:
        tier: an edge also takes steps that any edge may run.
        workers: steps that run at once.
    """

    def __init__(self, host: StepHost, node: NodeId, fleet: str, tier: Tier, *, workers: int = 1) -> None:
        self._host, self._node, self._fleet, self._tier = host, node, fleet, tier
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="step")
        self._under_way: set[asyncio.Task[None]] = set()
        self.served = self.refused = 0

    async def serve(self, broker: BrokerUrl) -> None:
        """Until cancelled, over as many connections as it takes."""
        try:
            await stay_connected(broker, port_node(self._node), self._fleet, self._receive)
        finally:
            for task in self._under_way:
                task.cancel()
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _receive(self, client: aiomqtt.Client) -> None:
        await client.subscribe(step_topic(self._fleet, self._node), qos=1)
        if self._tier is Tier.EDGE:
            await client.subscribe(shared_step_filter(self._fleet), qos=1)
        async for message in client.messages:
            try:
                address = self._address(message)
            except WireFormatError as error:
                log.warning("a step without a return address", extra={"reason": str(error)})
                continue
            if len(self._under_way) >= MAX_WAITING:
                self.refused += 1
                busy = OverloadedError(f"{self._node} has {MAX_WAITING} steps waiting", retry_after_s=_BUSY_RETRY_S)
                await self._answer(client, message, address, seal_failure(busy))
                continue
            task = asyncio.create_task(self._run(client, message, address))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _run(self, client: aiomqtt.Client, message: aiomqtt.Message, address: str) -> None:
        try:
            request = StepRequest.open(bytes(message.payload))
            loop = asyncio.get_running_loop()
            sealed = seal_result(await loop.run_in_executor(self._executor, self._host.run, request))
        except Exception as error:
            log.info("a step failed", extra={"reason": str(error)[:200]})
            sealed = seal_failure(error)
        self.served += 1
        try:
            await self._answer(client, message, address, sealed)
        except aiomqtt.MqttError as error:
            log.warning("a step's result could not be sent", extra={"reason": str(error)})

    async def _answer(self, client: aiomqtt.Client, message: aiomqtt.Message, address: str, sealed: bytes) -> None:
        properties = new_properties(PacketTypes.PUBLISH)
        properties.CorrelationData = _of(message, "CorrelationData")
        await client.publish(address, sealed, qos=1, properties=properties)

    def _address(self, message: aiomqtt.Message) -> str:
        """The asker's own topic for results, and no other."""
        address = str(_of(message, "ResponseTopic") or "")
        if address != stepped_topic(self._fleet, device_of(address)):
            raise WireFormatError(f"{address!r} is not where results of steps go")
        return address


def _of(message: aiomqtt.Message, name: str) -> Any:
    return getattr(message.properties, name, None) if message.properties is not None else None
