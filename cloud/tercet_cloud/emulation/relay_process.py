"""Relays in a process of their own, so that nobody's event loop slows them; and how to steer them.

Orders cross its stdin, replies its stdout, one JSON object a line. It ends with its stdin, so never outlives who
started it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack, suppress
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from tercet.documents import Document, first_problem
from tercet.errors import NotFoundError, SpecError, TercetError, UnavailableError
from tercet.process import die_with_parent
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay import Relay, precise_loop
from tercet_cloud.emulation.trace import Trace

REPLY_S = 10.0
_LINE_BYTES = 1 << 24

log = logging.getLogger(__name__)


class _Order(Document):
    """What a relay process is told; `link` names one of its relays."""

    do: Literal["open", "change", "play", "reset", "report"]
    link: str
    number: int = 0
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    seed: int = 0
    condition: LinkCondition | None = None
    trace: Trace | None = None


class RelayReport(Document):
    """What a relay did so far, and where it listens; `number` is that of the order it replies to."""

    number: int = 0
    port: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    open_connections: int = 0
    accepted: int = 0
    refused: int = 0
    condition: LinkCondition = LinkCondition()
    error: str = ""


class RelayProcess:
    """A child process with any number of relays. Use as an async context manager."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._orders = 0

    async def open(self, link: str, port: int, condition: LinkCondition, *, seed: int = 0) -> int:
        """Start a relay in front of loopback `port`; returns the port to connect to instead."""
        order = _Order(do="open", link=link, port=port, condition=condition, seed=seed)
        return (await self._tell(order)).port

    async def change(self, link: str, condition: LinkCondition) -> None:
        """Give a link another condition, and end a trace that plays there; in force when this returns."""
        await self._tell(_Order(do="change", link=link, condition=condition))

    async def play(self, link: str, trace: Trace) -> None:
        """Start a trace; returns at once."""
        await self._tell(_Order(do="play", link=link, trace=trace))

    async def reset(self, link: str) -> None:
        """Reset all connections of a link, once."""
        await self._tell(_Order(do="reset", link=link))

    async def report(self, link: str) -> RelayReport:
        return await self._tell(_Order(do="report", link=link))

    async def _tell(self, order: _Order) -> RelayReport:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise UnavailableError("the relay process is not running")
        async with self._turn:
            self._orders += 1
            numbered = order.model_copy(update={"number": self._orders})
            try:
                async with asyncio.timeout(REPLY_S):
                    process.stdin.write(numbered.model_dump_json().encode() + b"\n")
                    await process.stdin.drain()
                    report = await _read_reply(process.stdout, numbered.number)
            except (TimeoutError, ConnectionError) as error:
                raise UnavailableError(f"the relay process does not answer: {error!r}") from error
        if report.error:
            raise SpecError(f"relay {order.link}: {report.error}")
        return report

    async def __aenter__(self) -> RelayProcess:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tercet_cloud.emulation.relay_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(REPLY_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _read_reply(replies: asyncio.StreamReader, number: int) -> RelayReport:
    """The reply to order `number`; those to orders that nobody waits for any more are passed over."""
    while line := await replies.readline():
        report = RelayReport.model_validate_json(line)
        if report.number >= number:
            return report
    raise UnavailableError("the relay process has ended")


class _Relays:
    """The relays of this process."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._relays: dict[str, Relay] = {}
        self._playing: dict[str, asyncio.Task[None]] = {}

    async def obey(self, line: bytes) -> RelayReport:
        number = 0
        try:
            order = _Order.model_validate_json(line)
            number = order.number
            if order.do == "open":
                await self._open(order)
            relay = self._relays.get(order.link)
            if relay is None:
                raise NotFoundError(f"there is none; there are {', '.join(self._relays) or 'no links'}")
            self._act(order, relay)
        except ValidationError as error:
            # Whatever number it had: there is no other order under way.
            return RelayReport(number=sys.maxsize, error=first_problem(error))
        except (TercetError, OSError) as error:
            return RelayReport(number=number, error=str(error))
        return RelayReport(
            number=number,
            port=relay.port,
            up_bytes=relay.bytes["up"],
            down_bytes=relay.bytes["down"],
            open_connections=relay.open_connections,
            accepted=relay.accepted,
            refused=relay.refused,
            condition=relay.condition,
        )

    async def _open(self, order: _Order) -> None:
        if order.link in self._relays:
            raise SpecError("it is open already")
        relay = Relay(order.host, order.port, order.condition or LinkCondition(), order.seed)
        self._relays[order.link] = await self._stack.enter_async_context(relay)

    def _act(self, order: _Order, relay: Relay) -> None:
        if order.do in ("change", "play") and (playing := self._playing.pop(order.link, None)):
            playing.cancel()
        if order.do == "change" and order.condition:
            relay.change(order.condition)
        elif order.do == "play" and order.trace:
            self._playing[order.link] = asyncio.create_task(_play(relay, order.trace))
        elif order.do == "reset":
            relay.reset()


async def _play(relay: Relay, trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for point in trace.points:
        await asyncio.sleep(began_s + point.at_s - loop.time())
        relay.change(point.condition)


async def _obey_stdin() -> None:
    orders = asyncio.StreamReader(limit=_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with AsyncExitStack() as stack:
        relays = _Relays(stack)
        while line := await orders.readline():
            report = await relays.obey(line)
            sys.stdout.write(report.model_dump_json() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=precise_loop) as runner, suppress(KeyboardInterrupt):
        runner.run(_obey_stdin())
