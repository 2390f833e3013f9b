"""A light device's side of MQTT 5: connect, subscribe to the answers, publish messages. As little work as can be.

For benchmarks with many devices in one process, where a full client each would measure the clients. It speaks only
what Tercet's edge sends: QoS 0, correlation data as the only property, if any.

Source: OASIS, "MQTT Version 5.0", 2019, chapters 2 and 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tercet.errors import LinkDownError, WireFormatError
from tercet.identifiers import NodeId
from tercet.wire.topics import ack_topic, answer_topic, deliver_topic, infer_topic

KEEPALIVE_S = 600
_CONNACK, _PUBLISH, _SUBACK = 0x20, 0x30, 0x90
_RESPONSE_TOPIC, _CORRELATION_DATA = b"\x08", b"\x09"

OnAnswer = Callable[[bytes, bytes], None]


class LightClient(asyncio.Protocol):
    """Use `connect`.

    Args:
        on_answer: called with correlation data and payload.
        durable: messages hold durable frames, and answers are receipts; else frames and their answers.
    """

    def __init__(self, device: NodeId, fleet: str, on_answer: OnAnswer, *, durable: bool = False) -> None:
        self._device = device
        self._on_answer = on_answer
        self._answer_topic = (ack_topic if durable else answer_topic)(fleet, device).encode()
        self._topic = (deliver_topic if durable else infer_topic)(fleet, device).encode()
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        device: NodeId,
        fleet: str,
        on_answer: OnAnswer,
        timeout_s: float = 20.0,
        *,
        durable: bool = False,
    ) -> LightClient:
        """A client whose answers will arrive; LinkDownError if the broker refuses."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            _, client = await loop.create_connection(
                lambda: cls(device, fleet, on_answer, durable=durable), host, port
            )
            await client.ready
        return client

    def publish(self, correlation: bytes, payload: bytes) -> None:
        """Send one message."""
        properties = _RESPONSE_TOPIC + _sized(self._answer_topic) + _CORRELATION_DATA + _sized(correlation)
        body = _sized(self._topic) + _varint(len(properties)) + properties + payload
        if self._transport is None or self.lost:
            raise LinkDownError(f"device {self._device} has no connection")
        self._transport.write(_packet(_PUBLISH, body))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Protocol level 5, clean start, no properties.
        head = _sized(b"MQTT") + b"\x05\x02" + KEEPALIVE_S.to_bytes(2, "big") + b"\x00"
        transport.write(_packet(0x10, head + _sized(self._device.encode())))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (packet := self._next_packet()) is not None:
            self._handle(*packet)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if not self.ready.done():
            self.ready.set_exception(LinkDownError(f"the broker refused device {self._device}"))

    def _next_packet(self) -> tuple[int, bytes] | None:
        length, shift, at = 0, 0, 1
        while True:
            if at >= len(self._received):
                return None
            length |= (self._received[at] & 0x7F) << shift
            more = self._received[at] & 0x80
            at, shift = at + 1, shift + 7
            if not more:
                break
        if len(self._received) < at + length:
            return None
        packet = self._received[0], bytes(self._received[at : at + length])
        del self._received[: at + length]
        return packet

    def _handle(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == _CONNACK and body[1] == 0 and self._transport is not None:
            self._transport.write(_packet(0x82, b"\x00\x01\x00" + _sized(self._answer_topic) + b"\x00"))
        elif kind == _SUBACK:
            self.ready.set_result(None)
        elif kind == _PUBLISH:
            self._on_answer(*_read_answer(body))


def _read_answer(body: bytes) -> tuple[bytes, bytes]:
    at = 2 + int.from_bytes(body[:2], "big")
    properties_bytes = body[at]
    properties = body[at + 1 : at + 1 + properties_bytes]
    if properties_bytes > 127 or properties[:1] not in (b"", _CORRELATION_DATA):
        raise WireFormatError("an answer has other properties than its correlation data")
    return properties[3:], body[at + 1 + properties_bytes :]


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _varint(len(body)) + body


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)
