"""Passes messages between two brokers, and calls to the cloud, twice or out of order now and then.

TCP keeps bytes in order, so disorder is made where messages are whole: devices have a broker of their own, and
durable messages cross from it to the edges' broker and back by way of this process, held up by random times, some
repeated. Calls to the cloud pass through likewise: some deliveries are made twice, some late, and some answers are
thrown away, so that the edge must ask again. Realtime frames pass as they are.

    python -m chaos.disorder --devices PORT --edges PORT --cloud PORT --seed N

prints the port that edges are to use as the cloud, then runs until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiomqtt
import grpc
import grpc.aio
from paho.mqtt.packettypes import PacketTypes

from tercet.limits import MAX_FRAME_BYTES
from tercet.links.mqtt import MAX_PACKET_BYTES, new_properties
from tercet.wire.topics import ROOT

RETRY_S = 0.2
_SERVICE = "/tercet.v1.Inference/"
_UP, _DOWN = ("infer", "replan", "deliver", "custody"), ("answer", "ack")
_DURABLE = frozenset({"deliver", "custody", "ack"})
_MESSAGE_OPTIONS = (
    ("grpc.max_send_message_length", MAX_FRAME_BYTES + 65536),
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES + 65536),
)


@dataclass(frozen=True)
class Disorder:
    """How often what happens."""

    held_share: float = 0.3
    held_most_s: float = 0.6
    twice_share: float = 0.2
    answer_lost_share: float = 0.1


class Mixer:
    """Decides what becomes of each durable message, and does it. Realtime ones go straight through."""

    def __init__(self, disorder: Disorder, seed: int) -> None:
        self._disorder = disorder
        self._dice = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.held = self.doubled = 0

    def delays_s(self) -> list[float]:
        """When each copy of a message is passed on."""
        delays = [self._delay_s()]
        if self._dice.random() < self._disorder.twice_share:
            self.doubled += 1
            delays.append(self._delay_s())
        return delays

    def answer_lost(self) -> bool:
        return self._dice.random() < self._disorder.answer_lost_share

    def later(self, delay_s: float, act: Callable[[], Awaitable[None]]) -> None:
        async def wait_and_act() -> None:
            await asyncio.sleep(delay_s)
            await act()

        task = asyncio.create_task(wait_and_act())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _delay_s(self) -> float:
        if self._dice.random() >= self._disorder.held_share:
            return 0.0
        self.held += 1
        return self._dice.uniform(0.0, self._disorder.held_most_s)


async def carry(source_port: int, target_port: int, kinds: tuple[str, ...], mixer: Mixer) -> None:
    """Pass messages of some kinds between brokers until cancelled, over fresh connections after a loss."""
    while True:
        try:
            async with _client(source_port) as source, _client(target_port) as target:
                for kind in kinds:
                    await source.subscribe(f"{ROOT}/+/+/{kind}", qos=0)
                async for message in source.messages:
                    _pass_on(message, target, mixer)
        except aiomqtt.MqttError:
            await asyncio.sleep(RETRY_S)


def _client(port: int) -> aiomqtt.Client:
    properties = new_properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = MAX_PACKET_BYTES
    return aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, properties=properties, timeout=5)


def _pass_on(message: aiomqtt.Message, target: aiomqtt.Client, mixer: Mixer) -> None:
    topic = str(message.topic)
    properties = new_properties(PacketTypes.PUBLISH)
    for name in ("ResponseTopic", "CorrelationData", "UserProperty"):
        if (value := getattr(message.properties, name, None)) is not None:
            setattr(properties, name, value)

    async def publish() -> None:
        try:
            await target.publish(topic, message.payload, properties=properties)
        except aiomqtt.MqttError:
            # As on any link that breaks: what was under way is gone.
            return

    durable = topic.rsplit("/", 1)[-1] in _DURABLE
    for delay_s in mixer.delays_s() if durable else [0.0]:
        mixer.later(delay_s, publish)


class CallProxy(grpc.GenericRpcHandler):
    """Every call of the Inference service, passed on as bytes; deliveries with disorder."""

    def __init__(self, channel: grpc.aio.Channel, mixer: Mixer) -> None:
        self._channel = channel
        self._mixer = mixer

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if not details.method.startswith(_SERVICE):
            return None
        call: Any = self._channel.unary_unary(details.method)
        deliver = details.method.endswith("/Deliver")

        async def handle(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            timeout_s = context.time_remaining()
            try:
                answers = [
                    await _after(delay_s, call, request, timeout_s)
                    for delay_s in (self._mixer.delays_s() if deliver else [0.0])
                ]
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            if deliver and self._mixer.answer_lost():
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost on its way")
            return answers[-1]

        return grpc.unary_unary_rpc_method_handler(handle)


async def _after(delay_s: float, call: Any, request: bytes, timeout_s: float | None) -> bytes:
    await asyncio.sleep(delay_s)
    answer: bytes = await call(request, timeout=timeout_s)
    return answer


async def run(devices_port: int, edges_port: int, cloud_port: int, seed: int) -> None:
    mixer = Mixer(Disorder(), seed)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{cloud_port}", options=_MESSAGE_OPTIONS) as channel:
        server = grpc.aio.server(options=_MESSAGE_OPTIONS)
        server.add_generic_rpc_handlers((CallProxy(channel, mixer),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        async with asyncio.TaskGroup() as tasks:
            carrying = [
                tasks.create_task(carry(devices_port, edges_port, _UP, mixer)),
                tasks.create_task(carry(edges_port, devices_port, _DOWN, mixer)),
            ]
            await asyncio.to_thread(sys.stdin.buffer.read)
            for task in carrying:
                task.cancel()
        await server.stop(grace=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--devices", "--edges", "--cloud"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(run(given.devices, given.edges, given.cloud, given.seed))


if __name__ == "__main__":
    main()
