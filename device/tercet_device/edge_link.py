"""A device's link to one edge: the broker connection, the questions under way, and what the link does now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiomqtt
import numpy as np
from paho.mqtt.packettypes import PacketTypes

from tercet.adaptive.condition_tracker import ConditionTracker
from tercet.clock import Lap
from tercet.errors import DeadlineError, LinkDownError, TercetError, UnavailableError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import Attend, new_properties, stay_connected
from tercet.links.paho_connection import publish
from tercet.plans import PlanPrediction
from tercet.replan_request import ReplanQuestion
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import StreamSender
from tercet.wire.topics import answer_topic, infer_topic, replan_topic
from tercet_device.pending import PendingFrames

log = logging.getLogger(__name__)

# How often frames under way are looked at.
WATCH_S = 0.05
# A link that plans avoid is probed this often while frames come, and rarely when none do. A probe is as large as
# what crosses in PROBE_MS by the present estimate, within limits: enough to see a speed, and at most 4 % of the
# link's time.
PROBE_EVERY_S = 0.5
PROBE_RARELY_S = 30.0
# After a surprise the next follows at once.
PROBE_AGAIN_S = 0.1
DEMAND_S = 10.0
PROBE_MS = 20.0
PROBE_BYTES = (256, 16_384)
PROBE_TIMEOUT_S = 2.0
# Without a connection for so long, a link is away, and not only between two connections.
AWAY_AFTER_S = 0.5
# A frame is lost, and not only late, after so many times what it should take.
_LOST_AFTER = 3.0
# Requests for plan tables are numbered from here, frames from 1.
_TABLE_REQUESTS = 1 << 63


@dataclass(frozen=True)
class Listener:
    """Who is told of messages on a further topic, and of losses of the connection."""

    on_message: Callable[[bytes], None]
    on_lost: Callable[[], None]


class EdgeLink:
    """Asks one edge. Use `async with link.connected(): await link.ask(…)`.

    Args:
        probing: whether to measure the link while no frame crosses it; for who chooses plans by it.

    Attributes:
        doubted: set it when the edge is left alone: it is probed then, and its answer told to `on_answered_again`.
    """

    def __init__(self, node: NodeId, fleet: str, broker: BrokerUrl, *, probing: bool = False) -> None:
        self.broker = broker
        self.tracker = ConditionTracker(Tier.DEVICE)
        self.streams = StreamSender()
        self.pending = PendingFrames()
        self._node = node
        self._fleet = fleet
        self._client: aiomqtt.Client | None = None
        self._online = asyncio.Event()
        # Frames on the link: size, clock, and how long tiers beyond are expected to need for them.
        self._under_way: dict[int, tuple[int, Lap, float]] = {}
        self._probing = probing
        self._used_s = self._wanted_s = self._offline_s = time.monotonic()
        self.doubted = False
        self.on_answered_again: Callable[[], None] = lambda: None
        self.probes = 0
        self._tables_asked = 0
        self._listeners: dict[str, Listener] = {}

    def __str__(self) -> str:
        return str(self.broker)

    @asynccontextmanager
    async def connected(
        self, retained: Mapping[str, bytes] | None = None, beside: Sequence[Attend] = ()
    ) -> AsyncIterator[None]:
        """Keep a connection while entered; does not wait for the first one. Arguments as for `stay_connected`."""
        tasks = [
            asyncio.create_task(
                stay_connected(
                    self.broker, self._node, self._fleet, self._receive, retained=retained, beside=beside
                )
            ),
            asyncio.create_task(self._watch()),
        ]
        self._offline_s = time.monotonic()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    @property
    def online(self) -> bool:
        return self._online.is_set()

    @property
    def away(self) -> bool:
        """Whether the broker is known to be out of reach."""
        return not self.online and time.monotonic() - self._offline_s > AWAY_AFTER_S

    async def wait_online(self, timeout_s: float) -> None:
        """Return once answers can be received; LinkDownError after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._online.wait()
        except TimeoutError as error:
            raise LinkDownError(f"no connection to the broker {self} within {timeout_s:g} s") from error

    def wanted(self) -> None:
        """A frame came for which this link was considered, whether it takes it or not."""
        self._wanted_s = time.monotonic()

    async def ask(
        self, frame: Frame, until_s: float, expected_beyond_ms: float = 0.0, *, patient: bool = True
    ) -> Answer:
        """The answer to `frame`, if it comes before `until_s` of `time.monotonic`.

        Args:
            patient: whether to wait for a broker that is known to be away.
            expected_beyond_ms: how long the tiers beyond are expected to have the frame; what it takes longer than
                that is news about the link before its answer is there.
        Raises:
            DeadlineError, LinkDownError.
        """
        sequence = frame.header.sequence
        left_s = max(0.0, until_s - time.monotonic())
        frame.header.deadline_ms = max(1, round(left_s * 1000))
        sealed = frame.seal()
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = answer_topic(self._fleet, self._node)
        correlation, future = self.pending.expect(sequence)
        properties.CorrelationData = correlation
        self._used_s = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                await self._until_online(patient)
                client = self._client
                if client is None:
                    raise LinkDownError("the broker went away")
                self._under_way[sequence] = (len(sealed), Lap(), expected_beyond_ms)
                await publish(client, infer_topic(self._fleet, self._node), sealed, properties=properties)
                return await future
        except TimeoutError as error:
            where = "the edge did not answer" if self.online else "the broker could not be reached"
            self._learn_from_silence(len(sealed), left_s * 1000 - expected_beyond_ms)
            raise DeadlineError(f"frame {sequence}: {where} within {left_s:.3g} s") from error
        except aiomqtt.MqttError as error:
            raise LinkDownError(f"frame {sequence} could not be published: {error}") from error
        finally:
            self.pending.forget(correlation)
            self._under_way.pop(sequence, None)
            if not future.cancel() and not future.cancelled():
                # Looked at, or asyncio complains of what nobody asked for.
                future.exception()

    async def _until_online(self, patient: bool) -> None:
        while not self.online:
            left_s = None if patient else self._offline_s + AWAY_AFTER_S - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise LinkDownError(f"no connection to the broker {self}")
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._online.wait()

    async def ask_table(self, question: ReplanQuestion, timeout_s: float) -> Answer:
        """The answer with a plan table, or a refusal.

        Raises:
            DeadlineError, LinkDownError.
        """
        client = self._client
        if client is None:
            raise LinkDownError(f"no connection to the broker {self}")
        self._tables_asked += 1
        properties = new_properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = answer_topic(self._fleet, self._node)
        correlation, future = self.pending.expect(_TABLE_REQUESTS + self._tables_asked)
        properties.CorrelationData = correlation
        request = question.to_wire().SerializeToString()
        try:
            async with asyncio.timeout(timeout_s):
                await publish(client, replan_topic(self._fleet, self._node), request, properties=properties)
                return await future
        except TimeoutError as error:
            raise DeadlineError(f"nobody sent a plan table within {timeout_s:.3g} s") from error
        except aiomqtt.MqttError as error:
            raise LinkDownError(f"a plan table could not be asked for: {error}") from error
        finally:
            self.pending.forget(correlation)

    def listen(self, topic: str, listener: Listener) -> None:
        """Receive a further topic from the next connection on; call it before `connected`."""
        self._listeners[topic] = listener

    @property
    def asking(self) -> bool:
        """Whether a realtime frame is on the link, or awaited."""
        return bool(self._under_way)

    async def publish(self, topic: str, payload: bytes, properties: Any, timeout_s: float) -> None:
        """Hand a message to the connection there is now; LinkDownError if there is none, or it takes too long."""
        client = self._client
        if client is None:
            raise LinkDownError(f"no connection to the broker {self}")
        try:
            async with asyncio.timeout(timeout_s):
                await publish(client, topic, payload, properties=properties)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise LinkDownError(f"a message could not be published: {error or 'not in time'}") from error

    def _learn_from_silence(self, size_bytes: int, waited_ms: float) -> None:
        """A frame without an answer: late on a link that is slow, lost on one that was much quicker than that."""
        now_s, link = time.monotonic(), self.tracker.first_link
        lost = waited_ms > _LOST_AFTER * link.estimate(now_s).transfer_ms(size_bytes)
        link.waiting(size_bytes, waited_ms, now_s)
        if lost:
            link.lost(now_s)

    async def probe(self) -> None:
        """Ask for a visit and nothing else: says what the link and the tiers ahead do now."""
        goodput_mbps = self.tracker.first_link.estimate(time.monotonic()).goodput_mbps
        size_bytes = min(max(round(goodput_mbps * PROBE_MS * 125), PROBE_BYTES[0]), PROBE_BYTES[1])
        header = pb.FrameHeader(probe=True, node=self._node, delivery=pb.DELIVERY_CLASS_REALTIME)
        frame = Frame.encode(header, {"padding": np.zeros(size_bytes, np.uint8)}, "raw")
        waiting = Lap()
        self.probes += 1
        answer = await self.ask(frame, time.monotonic() + PROBE_TIMEOUT_S)
        own = pb.Visit(tier=pb.TIER_DEVICE, node=self._node, beyond_us=waiting.take())
        self.learn([own, *answer.header.route.visits], answer)

    def learn(self, visits: Sequence[pb.Visit], answer: Answer, predicted: PlanPrediction | None = None) -> None:
        """Take in what an answer's route says; `visits` start with our own."""
        self.tracker.learn(visits, answer_bytes(answer), time.monotonic(), predicted)

    async def _watch(self) -> None:
        """Believe in a slow link before a late answer proves it, and probe one that nothing has crossed."""
        while True:
            await asyncio.sleep(WATCH_S)
            now_s = time.monotonic()
            for size_bytes, sent, beyond_ms in self._under_way.values():
                self.tracker.first_link.waiting(size_bytes, sent.peek() / 1000 - beyond_ms, now_s)
            every_s = PROBE_EVERY_S if self.doubted or now_s - self._wanted_s < DEMAND_S else PROBE_RARELY_S
            if self.tracker.first_link.surprised:
                every_s = PROBE_AGAIN_S
            wanted = (self._probing or self.doubted) and now_s - self._used_s > every_s
            if wanted and self.online and not self._under_way:
                await self._try_probe()

    async def _try_probe(self) -> None:
        try:
            await self.probe()
        except UnavailableError as error:
            log.debug("probe unanswered", extra={"broker": str(self), "reason": str(error)})
            return
        if self.doubted:
            self.doubted = False
            self.on_answered_again()

    async def _receive(self, client: aiomqtt.Client) -> None:
        for topic in (answer_topic(self._fleet, self._node), *self._listeners):
            await client.subscribe(topic, qos=0)
        self._client = client
        self._online.set()
        try:
            async for message in client.messages:
                if listener := self._listeners.get(str(message.topic)):
                    listener.on_message(message.payload)
                else:
                    self._on_answer(message)
        finally:
            self._offline_s = time.monotonic()
            self._online.clear()
            self._client = None
            self.pending.fail_all(LinkDownError("the connection to the broker was lost"))
            for listener in self._listeners.values():
                listener.on_lost()

    def _on_answer(self, message: aiomqtt.Message) -> None:
        try:
            answer = Answer.open(message.payload)
        except TercetError as error:
            log.warning("answer refused", extra={"reason": str(error)})
            self.pending.unexpected += 1
            return
        correlation = getattr(message.properties, "CorrelationData", None)
        self.pending.resolve(correlation, answer)


def answer_bytes(answer: Answer) -> int:
    """What an answer took on the wire, near enough."""
    return answer.header.ByteSize() + sum(len(payload) for payload in answer.payloads)
