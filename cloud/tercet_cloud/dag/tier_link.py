"""A worker's way to edges and devices: one connection to the broker, over which it asks and is answered.

It asks as any client does: frames of split models as a device would publish them, steps as
`tercet.steps.step_port` takes them. Whether a named node is there is known by its retained status, so that an
absent one is said to be absent at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from tercet.errors import DeadlineError, LinkDownError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import OFFLINE, new_client, new_properties
from tercet.wire.topics import answer_topic, status_topic, stepped_topic

CONNECT_S = 10.0
# A broker sends a retained status at once; where none comes, the node was never there.
STATUS_S = 2.0
_RETRY_S = 0.5


class TierLink:
    """Blocking, and safe for many threads. The connection has a thread of its own, and is renewed when it breaks.

    Close it where the process goes on.
    """

    def __init__(self, broker: BrokerUrl, fleet: str) -> None:
        self.node = NodeId(f"cloud-{secrets.token_hex(6)}")
        self.fleet = fleet
        self._broker = broker
        self._numbers = itertools.count(1)
        self._pending: dict[bytes, asyncio.Future[bytes]] = {}
        self._asked: dict[str, Future[bytes]] = {}
        self._status: dict[str, asyncio.Future[bytes]] = {}
        self._client: aiomqtt.Client | None = None
        self._online = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="tier-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect; whoever waits for an answer gets a LinkDownError."""
        self._loop.call_soon_threadsafe(self._connection.cancel)
        self._thread.join(CONNECT_S)

    def ask(self, topic: str, sealed: bytes, answers: str, timeout_s: float, name: str = "") -> bytes:
        """The answer that comes to our topic `answers`, within the time, connecting included.

        Args:
            name: by which `give_up` ends the wait.
        Raises:
            LinkDownError: there is no broker.
            DeadlineError: nobody answered, or the wait was given up.
        """
        until_s = time.monotonic() + timeout_s
        self._require_broker(timeout_s)
        asked: Future[bytes] = asyncio.run_coroutine_threadsafe(self._ask(topic, sealed, answers), self._loop)
        self._asked[name] = asked
        try:
            return asked.result(max(0.0, until_s - time.monotonic()))
        except FutureTimeoutError as error:
            asked.cancel()
            raise DeadlineError(f"nobody answered on {topic} within {timeout_s:.3g} s") from error
        except CancelledError as error:
            raise DeadlineError(f"what was asked on {topic} is not wanted any more") from error
        finally:
            self._asked.pop(name, None)

    def give_up(self, name: str) -> None:
        """End the wait of whoever asked under that name, if somebody does."""
        if (asked := self._asked.get(name)) is not None:
            asked.cancel()

    def require_present(self, node: NodeId, timeout_s: float) -> None:
        """LinkDownError if the broker says that a node is away, or has never heard of it."""
        until_s = time.monotonic() + timeout_s
        self._require_broker(timeout_s)
        asked = asyncio.run_coroutine_threadsafe(self._present(node), self._loop)
        try:
            present = asked.result(max(0.0, min(STATUS_S, until_s - time.monotonic())))
        except FutureTimeoutError:
            asked.cancel()
            present = False
        if not present:
            raise LinkDownError(f"{node} is not connected to the broker {self._broker}")

    def _require_broker(self, timeout_s: float) -> None:
        if not self._online.wait(min(CONNECT_S, timeout_s)):
            raise LinkDownError(f"no broker at {self._broker}")

    @property
    def frame_answers(self) -> str:
        return answer_topic(self.fleet, self.node)

    @property
    def step_answers(self) -> str:
        return stepped_topic(self.fleet, self.node)

    async def _ask(self, topic: str, sealed: bytes, answers: str) -> bytes:
        client = self._client
        if client is None:
            raise LinkDownError("the broker went away")
        number = next(self._numbers).to_bytes(8, "big")
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = answers, number
        future = self._pending[number] = self._loop.create_future()
        try:
            await client.publish(topic, sealed, qos=1, properties=properties)
            answer: bytes = await future
            return answer
        except aiomqtt.MqttError as error:
            raise LinkDownError(f"could not be published: {error}") from error
        finally:
            self._pending.pop(number, None)

    async def _present(self, node: NodeId) -> bool:
        topic = status_topic(self.fleet, node)
        client = self._client
        if client is None:
            raise LinkDownError("the broker went away")
        if topic not in self._status:
            self._status[topic] = self._loop.create_future()
            await client.subscribe(topic, qos=1)
        return await asyncio.shield(self._status[topic]) != OFFLINE

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._connection = self._loop.create_task(self._stay_connected())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._connection)
        self._fail_pending()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _stay_connected(self) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):
                async with new_client(self._broker, self.node, self.fleet, is_node=False) as client:
                    for topic in (self.frame_answers, self.step_answers):
                        await client.subscribe(topic, qos=1)
                    self._client = client
                    self._online.set()
                    async for message in client.messages:
                        self._receive(message)
            self._client = None
            self._online.clear()
            self._status.clear()
            self._fail_pending()
            await asyncio.sleep(_RETRY_S)

    def _fail_pending(self) -> None:
        for future in self._pending.values():
            if not future.done():
                future.set_exception(LinkDownError("the broker went away"))

    def _receive(self, message: aiomqtt.Message) -> None:
        topic, payload = str(message.topic), bytes(message.payload)
        if topic not in (self.frame_answers, self.step_answers):
            self._learn_status(topic, payload)
            return
        number: Any = getattr(message.properties, "CorrelationData", None)
        future = self._pending.get(number) if isinstance(number, bytes) else None
        if future is not None and not future.done():
            future.set_result(payload)

    def _learn_status(self, topic: str, payload: bytes) -> None:
        future = self._status.get(topic)
        if future is None or future.done():
            self._status[topic] = future = self._loop.create_future()
        future.set_result(payload)
