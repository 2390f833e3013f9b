"""Asks an address for the answer to one HTTP/2 ping, on a connection of its own.

gRPC speaks HTTP/2, and its systems answer pings however busy the service behind them is: this tells a busy cloud
from one that is out of reach. gRPC's own pings come no sooner than every ten seconds.

Source: RFC 9113, sections 3.4, 4.1 and 6.7.
"""

from __future__ import annotations

import asyncio
import secrets

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING, _ACK = 4, 6, 1
_HEADER_BYTES, _PING_BYTES = 9, 8
# Nobody greets with more than this before answering a ping.
_MOST_BYTES = 1 << 20


async def answers_ping(address: str, within_s: float) -> bool:
    """Whether HOST:PORT answers a ping in time."""
    host, _, port = address.rpartition(":")
    content = secrets.token_bytes(_PING_BYTES)
    writer = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(_PREFACE + _frame(_SETTINGS, b"") + _frame(_PING, content))
            await writer.drain()
            return await _until_answer(reader, content)
    except (OSError, EOFError):
        return False
    finally:
        if writer is not None:
            writer.transport.abort()


async def _until_answer(reader: asyncio.StreamReader, content: bytes) -> bool:
    read_bytes = 0
    while read_bytes < _MOST_BYTES:
        header = await reader.readexactly(_HEADER_BYTES)
        length = int.from_bytes(header[:3], "big")
        read_bytes += _HEADER_BYTES + length
        if read_bytes > _MOST_BYTES:
            break
        payload = await reader.readexactly(length)
        if header[3] == _PING and header[4] & _ACK:
            return payload == content
    return False


def _frame(kind: int, payload: bytes) -> bytes:
    """Of the connection as a whole: stream 0, no flags."""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + payload
