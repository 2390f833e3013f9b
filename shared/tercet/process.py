"""Life of a long-running process: signals, exit status, and children that never outlive it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tercet.parent_death import die_with_parent as die_with_parent

log = logging.getLogger(__name__)

# One Ctrl-C can be seen more than once: a child between fork and exec still shares our wakeup pipe.
_SAME_SIGNAL_S = 1.0


class Shutdown:
    """Set by the first SIGTERM, Ctrl-C or hang-up: stop taking work, finish what is under way, leave."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def request(self) -> None:
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


def run_service(main: Callable[[Shutdown], Coroutine[Any, Any, int]]) -> int:
    """Run `main` until it returns its exit status.

    The first SIGTERM, SIGINT or SIGHUP requests a shutdown, which `main` must heed; another one more than a second
    later ends the process at once with 128 + the signal's number. A hang-up that is ignored, as `nohup` has it, is.
    """

    async def supervised() -> int:
        shutdown = Shutdown()
        loop = asyncio.get_running_loop()

        requested_s = 0.0

        def on_signal(number: signal.Signals) -> None:
            nonlocal requested_s
            if shutdown.requested:
                if time.monotonic() - requested_s > _SAME_SIGNAL_S:
                    os._exit(128 + number)
                return
            requested_s = time.monotonic()
            log.info("shutdown requested", extra={"signal": number.name})
            shutdown.request()

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, on_signal, number)
        return await main(shutdown)

    return asyncio.run(supervised())


async def until_shutdown(shutdown: Shutdown, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or a shutdown is requested, whichever is first; errors of `work` propagate."""
    task = asyncio.ensure_future(work)
    stop = asyncio.ensure_future(shutdown.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        stop.cancel()
        await asyncio.wait({task, stop})
    if not task.cancelled():
        task.result()
