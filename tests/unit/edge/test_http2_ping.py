"""One ping to real HTTP/2 servers, and to what is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import grpc.aio
import pytest

from support.processes import free_port
from tercet_edge.http2_ping import answers_ping

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def test_a_grpc_server_answers() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        assert await answers_ping(f"127.0.0.1:{port}", 5.0)
    finally:
        await server.stop(grace=None)


async def test_nobody_and_a_black_hole_do_not() -> None:
    assert not await answers_ping(f"127.0.0.1:{free_port()}", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        assert not await answers_ping(f"127.0.0.1:{black_hole.getsockname()[1]}", 0.2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        bytes([255] * 4096),
        b"\x00\x00\x08\x06\x01\x00\x00\x00\x00" + b"another!",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 300_000,
    ],
    ids=["end", "http1", "huge", "another's", "endless"],
)
async def test_what_is_no_answer_to_our_ping_counts_as_none(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(answer)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        assert not await answers_ping(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", 2.0)
