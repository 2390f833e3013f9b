"""The emulated link with real sockets: bytes unchanged, in order, as slowly as told; trouble on demand."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tercet.errors import SpecError, UnavailableError
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay import Relay
from tercet_cloud.emulation.relay_process import RelayProcess
from tercet_cloud.emulation.trace import Trace, TracePoint

SOON_S = 10.0
BLOB = random.Random(0).randbytes(700_000)


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Echoes everything; ends its side when the other has ended."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(SOON_S):
            yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def relayed(condition: LinkCondition | None = None) -> AsyncIterator[Relay]:
    async with echo_server() as port, Relay("127.0.0.1", port, condition or LinkCondition()) as relay:
        yield relay


@pytest.mark.parametrize(
    "condition",
    [
        LinkCondition(),
        LinkCondition.symmetric(40, 10),
        LinkCondition(up_mbps=100, down_mbps=30, jitter_ms=5),
        LinkCondition(up_mbps=100, down_mbps=100, round_trip_ms=2, loss=0.02),
    ],
    ids=str,
)
async def test_bytes_come_back_unchanged_through_any_link(condition: LinkCondition) -> None:
    async with relayed(condition) as relay, connection(relay.port) as (reader, writer):
        writer.write(BLOB)
        writer.write_eof()
        found = await reader.read(-1)
    assert hashlib.sha256(found).digest() == hashlib.sha256(BLOB).digest()
    assert relay.bytes == {"up": len(BLOB), "down": len(BLOB)}


async def test_a_slow_link_takes_at_least_as_long_as_its_rate_and_delay_say() -> None:
    async with relayed(LinkCondition(up_mbps=4, round_trip_ms=100)) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        began_s = time.monotonic()
        writer.write(BLOB[:50_000])
        await asyncio.wait_for(reader.readexactly(50_000), SOON_S)
        assert time.monotonic() - began_s >= 0.2
        writer.close()


async def test_a_link_that_is_told_to_be_fast_is_so_for_connections_that_are_open() -> None:
    async with relayed(LinkCondition(up_mbps=0.01)) as relay, connection(relay.port) as (reader, writer):
        relay.change(LinkCondition())
        writer.write(BLOB)
        # At the first rate this would take nine minutes.
        assert await reader.readexactly(len(BLOB)) == BLOB


async def test_connections_share_the_link_and_both_get_on() -> None:
    async with (
        relayed(LinkCondition(up_mbps=20)) as relay,
        connection(relay.port) as first,
        connection(relay.port) as second,
    ):
        for _, writer in (first, second):
            writer.write(BLOB[:100_000])
        # Neither has to wait for the whole of the other.
        for reader, _ in (first, second):
            await reader.readexactly(20_000)
        assert relay.bytes["up"] < 150_000
        for reader, _ in (first, second):
            await reader.readexactly(80_000)


@pytest.mark.parametrize("stalled", ["stalled_up", "stalled_down"])
async def test_half_open_means_that_nothing_arrives_and_nobody_is_told(stalled: str) -> None:
    async with relayed() as relay, connection(relay.port) as (reader, writer):
        writer.write(b"before")
        assert await reader.readexactly(6) == b"before"
        relay.change(LinkCondition.model_validate({stalled: True}))
        writer.write(b"during")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.readexactly(1)
        relay.change(LinkCondition())
        assert await reader.readexactly(6) == b"during"


async def test_a_half_open_link_still_takes_connections() -> None:
    half_open = LinkCondition(stalled_up=True, stalled_down=True)
    async with relayed(half_open) as relay, connection(relay.port) as (reader, writer):
        writer.write(b"hello?")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        assert relay.open_connections == 1


@pytest.mark.parametrize(
    "condition", [LinkCondition(up_mbps=8, stalled_up=True), LinkCondition(up_mbps=0.1)], ids=str
)
async def test_a_link_that_carries_nothing_soon_blocks_its_sender(condition: LinkCondition) -> None:
    loop = asyncio.get_running_loop()
    async with relayed(condition) as relay:
        with socket.socket() as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            sender.setblocking(False)
            await loop.sock_connect(sender, ("127.0.0.1", relay.port))
            taken = await _push_until_blocked(sender)
    # Kernel buffers of both ends, and what the relay holds; not megabytes.
    assert taken < 1_000_000


async def _push_until_blocked(sender: socket.socket) -> int:
    """How many bytes are taken before nothing is for a while."""
    taken = 0
    try:
        while True:
            async with asyncio.timeout(0.3):
                await asyncio.get_running_loop().sock_sendall(sender, bytes(10_000))
            taken += 10_000
    except TimeoutError:
        return taken


async def test_a_cut_resets_connections_and_refuses_new_ones_until_it_ends() -> None:
    async with relayed() as relay:
        async with connection(relay.port) as (reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            relay.change(LinkCondition(cut=True))
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        async with connection(relay.port) as (reader, writer):
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        assert relay.refused == 1
        relay.change(LinkCondition())
        async with connection(relay.port) as (reader, writer):
            writer.write(b"back")
            assert await reader.readexactly(4) == b"back"


async def test_who_connects_where_nobody_listens_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with Relay("127.0.0.1", port, LinkCondition()) as relay, connection(relay.port) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_relay_that_ends_leaves_no_connection() -> None:
    async with echo_server() as port:
        async with Relay("127.0.0.1", port, LinkCondition(round_trip_ms=1000)) as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(BLOB)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), SOON_S)
        writer.close()


# --- in a process of its own


async def test_a_relay_process_is_steered_while_it_runs() -> None:
    async with echo_server() as target, RelayProcess() as relay:
        port = await relay.open("link", target, LinkCondition(up_mbps=0.01))
        async with connection(port) as (reader, writer):
            await relay.change("link", LinkCondition(down_mbps=80))
            writer.write(BLOB[:5000])
            assert await reader.readexactly(5000) == BLOB[:5000]
            report = await relay.report("link")
            assert (report.up_bytes, report.down_bytes, report.open_connections) == (5000, 5000, 1)
            assert report.condition.down_mbps == 80
            await relay.reset("link")
            with pytest.raises(ConnectionResetError):
                await reader.read(1)


async def test_a_trace_plays_by_itself_and_ends_with_the_next_change() -> None:
    def trace(*rates: float) -> Trace:
        points = [TracePoint(at_s=0.05 * k, condition=LinkCondition(up_mbps=mbps)) for k, mbps in enumerate(rates)]
        return Trace(name="test", points=tuple(points))

    async with echo_server() as target, RelayProcess() as relay:
        await relay.open("link", target, LinkCondition())
        await relay.play("link", trace(1, 2, 3))
        async with asyncio.timeout(SOON_S):
            while (await relay.report("link")).condition.up_mbps != 3:
                await asyncio.sleep(0.01)
        await relay.play("link", trace(5, 6))
        await relay.change("link", LinkCondition(up_mbps=9))
        await asyncio.sleep(0.2)
        assert (await relay.report("link")).condition.up_mbps == 9


async def test_a_caller_that_is_busy_does_not_slow_the_relay() -> None:
    """An exchange between two threads goes on while this event loop is blocked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            served, _ = listener.accept()
            with served, suppress(ConnectionError):
                while data := served.recv(65536):
                    served.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        async with RelayProcess() as relay:
            port = await relay.open("link", listener.getsockname()[1], LinkCondition(round_trip_ms=10))
            with socket.create_connection(("127.0.0.1", port), timeout=SOON_S) as client:
                for number in range(5):
                    client.sendall(bytes([number]))
                    assert client.recv(1) == bytes([number])


async def test_wrong_orders_are_refused_in_a_line_and_cost_nothing() -> None:
    async with echo_server() as target, RelayProcess() as relay:
        await relay.open("link", target, LinkCondition())
        with pytest.raises(SpecError, match="relay link: it is open already"):
            await relay.open("link", target, LinkCondition())
        with pytest.raises(SpecError, match="relay other: there is none; there are link"):
            await relay.change("other", LinkCondition())
        wrong = LinkCondition().model_copy(update={"loss": 7.0})
        with pytest.raises(SpecError, match="loss"):
            await relay.change("link", wrong)
        assert (await relay.report("link")).condition == LinkCondition()


async def test_an_order_that_is_given_up_does_not_confuse_the_next() -> None:
    async with echo_server() as target, RelayProcess() as relay:
        port = await relay.open("link", target, LinkCondition())
        for mbps in (1, 2, 3):
            change = asyncio.create_task(relay.change("link", LinkCondition(up_mbps=mbps)))
            await asyncio.sleep(0)
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)
        await relay.change("link", LinkCondition(up_mbps=7))
        report = await relay.report("link")
        assert (report.port, report.condition.up_mbps) == (port, 7)


async def test_a_relay_process_that_is_gone_is_said_to_be() -> None:
    relay = RelayProcess()
    with pytest.raises(UnavailableError, match="not running"):
        await relay.report("link")
    async with relay:
        pass
    with pytest.raises(UnavailableError, match="not running"):
        await relay.report("link")
