"""What a client's connection carries, and how to ping, end or outlast it: the only place that reaches into paho.

paho pings by itself only when nothing was sent *or* nothing came for a whole keepalive, and ends a connection whose
ping is unanswered for another one, even while the ping waits behind a large upload that gets on. So its own checks
are put off here, and `liveness` decides instead.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from math import inf
from typing import Any

import aiomqtt

from tercet.links.liveness import Traffic

_PUT_OFF_S = 1 << 30
# struct tcp_info of Linux: 64 bits, bytes that the other side has acknowledged.
_BYTES_ACKED_AT = 120
_TCP_INFO_BYTES = 192
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class PahoConnection:
    """Of one connected client."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._paho = client._client
        # What CONNECT said to the broker stays as it is.
        self._paho._keepalive = _PUT_OFF_S

    def traffic(self) -> Traffic | None:
        """What the connection has carried; None if it is closed."""
        connection = _socket_of(self._paho)
        if connection is None:
            return None
        queued = sum(packet["to_process"] for packet in list(self._paho._out_packet))
        try:
            outstanding = queued + _unacknowledged_bytes(connection)
            taken = _acknowledged_bytes(connection)
        except OSError:
            return None
        return Traffic(round(self._paho._last_bytes_received * 1e6), taken, outstanding)

    def ping(self) -> None:
        """Have the broker answer; what it answers is seen in `traffic`."""
        self._paho._send_pingreq()


class AttemptingClient(aiomqtt.Client):
    """Fails at once if its connection is closed before CONNECT is answered, as by a proxy whose broker is away.

    aiomqtt waits for its whole time-out then.
    """

    def _on_disconnect(
        self,
        client: Any,
        userdata: Any,
        flags: Any,
        reason_code: Any,
        properties: Any = None,
    ) -> None:
        # The lock is held by an attempt and by what came of it.
        if self._lock.locked() and not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the connection was closed before it was accepted"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)


def cut(client: aiomqtt.Client) -> None:
    """End a client's connection at once, without a word to the broker, which then publishes the last will.

    Nothing that waits to be sent is sent any more. Safe to call on a client that is not connected.
    """
    lost = client._disconnected
    if lost.done() and not lost.cancelled():
        # Looked at, or asyncio complains of it later: nobody may have been reading messages.
        lost.exception()
    connection = _socket_of(client._client)
    if connection is None:
        return
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        # Reading ends, by which paho and aiomqtt learn that the connection is lost; then paho closes the socket.
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        return


def hear(client: aiomqtt.Client, topic: str, on_message: Callable[[bytes], None]) -> None:
    """Have messages on one topic told here, not among the client's messages. It must be subscribed to as well."""
    client._client.message_callback_add(topic, lambda _, __, message: on_message(bytes(message.payload)))


async def publish(
    client: aiomqtt.Client, topic: str, payload: bytes, *, properties: Any = None, retain: bool = False
) -> None:
    """Return when the message has left this process, however long a slow link takes for it.

    aiomqtt waits for a fixed time instead, and does not notice that the connection is lost.

    Raises:
        MqttError: the connection was lost.
    If cancelled, the message may still leave.
    """
    publishing = asyncio.ensure_future(
        client.publish(topic, payload, retain=retain, properties=properties, timeout=inf)
    )
    try:
        await asyncio.wait({publishing, client._disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not publishing.done():
            raise aiomqtt.MqttError("the connection to the broker was lost")
        publishing.result()
    finally:
        publishing.cancel()


def _socket_of(paho: object) -> socket.socket | None:
    connection = paho.socket()  # type: ignore[attr-defined]
    return connection if isinstance(connection, socket.socket) and connection.fileno() >= 0 else None


def _acknowledged_bytes(connection: socket.socket) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return int(struct.unpack_from("=Q", info, _BYTES_ACKED_AT)[0])


def _unacknowledged_bytes(connection: socket.socket) -> int:
    """What the kernel holds of ours: not yet sent, or not yet acknowledged."""
    size = array.array("i", [0])
    fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, size)
    return size[0]
