"""A TCP relay in front of one port that behaves like a slow link: asyncio, for a process of its own.

Bytes are passed on in order and unchanged, late. A relay takes from a connection only what its link can carry
now: a sender that is faster has to wait, as on a real link.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import socket
import struct
from collections import deque
from collections.abc import Coroutine
from typing import Any

from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.shaped_link import ShapedDirection, ShapedLink

log = logging.getLogger(__name__)

# Two file descriptors a connection; select(2) takes 1024.
MAX_CONNECTIONS = 450
CONNECT_S = 5.0
# The next chunk is taken so long before its turn, that the link never idles for our being woken late.
_AHEAD_S = 0.01
_NAP_S = 0.0008
_KERNEL_BUFFER_BYTES = 1 << 17
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes within some 0.1 ms: select(2) waits in microseconds, epoll in milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class Relay:
    """Listens on a loopback port and relays to HOST:PORT through an emulated link.

    "Up" is from who connects here. Use as an async context manager; leaving it resets what is connected.
    """

    def __init__(self, host: str, port: int, condition: LinkCondition, seed: int = 0) -> None:
        self._target = (host, port)
        self._link = ShapedLink(condition, seed)
        self._flowing = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = _listen()
        self._accepting: asyncio.Task[None] | None = None
        self.bytes = {"up": 0, "down": 0}
        self.accepted = self.refused = 0
        self.change(condition)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def condition(self) -> LinkCondition:
        return self._link.condition

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def change(self, condition: LinkCondition) -> None:
        """What the link is like from now on; bytes under way keep their times."""
        self._link.change(condition)
        for name, stalled in (("up", condition.stalled_up), ("down", condition.stalled_down)):
            (self._flowing[name].clear if stalled else self._flowing[name].set)()
        if condition.cut:
            self.reset()

    def reset(self) -> None:
        """Reset all connections, once."""
        for task in self._connections:
            task.cancel()

    async def __aenter__(self) -> Relay:
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._connections, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            if self.condition.cut or len(self._connections) >= MAX_CONNECTIONS:
                self.refused += 1
                _close(client, reset=True)
                continue
            self.accepted += 1
            task = asyncio.create_task(self._serve(client))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            # For one that is reset before it began.
            task.add_done_callback(lambda _, client=client: client.close())  # type: ignore[misc]

    async def _serve(self, client: socket.socket) -> None:
        """One connection, until both sides have ended it; reset if either is, or if cancelled."""
        target = socket.socket()
        broken = True
        try:
            for end in (client, target):
                _prepare(end)
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(target, self._target)
            async with asyncio.TaskGroup() as tasks:
                for task in self._pipes(client, target):
                    tasks.create_task(task)
            broken = False
        except* OSError as errors:
            log.debug("connection broken", extra={"reason": str(errors.exceptions[0])})
        finally:
            for end in (client, target):
                _close(end, reset=broken)

    def _pipes(self, client: socket.socket, target: socket.socket) -> list[Coroutine[Any, Any, None]]:
        up = _Pipe(client, target, self._link.up, self._flowing["up"])
        down = _Pipe(target, client, self._link.down, self._flowing["down"])
        return [up.take(), up.give(self.bytes, "up"), down.take(), down.give(self.bytes, "down")]


class _Pipe:
    """One direction of one connection: chunks taken from `source`, given to `sink` when they arrive."""

    def __init__(
        self, source: socket.socket, sink: socket.socket, direction: ShapedDirection, flowing: asyncio.Event
    ) -> None:
        self._source, self._sink = source, sink
        self._direction, self._flowing = direction, flowing
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._taken, self._given = asyncio.Event(), asyncio.Event()

    async def take(self) -> None:
        """Take chunks at the link's pace until the source ends."""
        loop = asyncio.get_running_loop()
        last_s = 0.0
        while True:
            while self._held_bytes and self._held_bytes >= self._direction.held_bytes:
                self._given.clear()
                await self._given.wait()
            data = await loop.sock_recv(self._source, self._direction.chunk_bytes)
            slot = self._direction.send(loop.time(), len(data), last_s)
            last_s = slot.arrives_s
            self._held_bytes += len(data)
            self._under_way.append((slot.arrives_s, data))
            self._taken.set()
            if not data:
                return
            await _sleep_until(slot.sent_s - _AHEAD_S)

    async def give(self, counters: dict[str, int], name: str) -> None:
        """Give chunks as they arrive; the source's end likewise."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._under_way:
                self._taken.clear()
                await self._taken.wait()
            arrives_s, data = self._under_way[0]
            await _sleep_until(arrives_s)
            await self._flowing.wait()
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(self._sink, data)
            counters[name] += len(data)
            self._under_way.popleft()
            self._held_bytes -= len(data)
            self._given.set()


async def _sleep_until(time_s: float) -> None:
    """In two parts: an idle processor wakes some 0.3 ms late from a long sleep, from a short one 0.1 ms."""
    loop = asyncio.get_running_loop()
    for early_s in (_NAP_S, 0.0):
        left_s = time_s - early_s - loop.time()
        if left_s > 0:
            await asyncio.sleep(left_s)


def _listen() -> socket.socket:
    listener = socket.socket()
    # Connections inherit it: what the kernel takes in before we do is kept short.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER_BYTES)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _prepare(end: socket.socket) -> None:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        end.setsockopt(socket.SOL_SOCKET, option, _KERNEL_BUFFER_BYTES)


def _close(end: socket.socket, *, reset: bool) -> None:
    if reset:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    end.close()
