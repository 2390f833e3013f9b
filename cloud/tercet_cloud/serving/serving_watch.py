"""Watches what `tercet cloud run` serves: readiness as a client sees it, and whether it can still recover.

Ray Serve replaces replicas, HAProxy and its controller by itself: until then the cloud is not ready, and says so.
Two things it cannot mend: one of Ray's own daemons that died, and whatever has not come right in the time that a
start may take. Then there is nothing to wait for: the process ends, so that its supervisor can start it anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from tercet.errors import LinkDownError, OverloadedError, UnavailableError
from tercet.health import Health
from tercet_cloud.serving.inference_client import describe

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
PROBE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 3.0


class ServingLostError(UnavailableError):
    """What was served is gone for good, in this process."""


class ServingWatch:
    """Watches one front end.

    Args:
        host, port: where a client would ask.
        dead_daemon: names a daemon of Ray's that has died, or returns None; quick.
        patience_s: how long nobody may answer before all is given up.
    """

    def __init__(
        self,
        health: Health,
        host: str,
        port: int,
        dead_daemon: Callable[[], str | None],
        patience_s: float,
    ) -> None:
        self._health, self._host, self._port = health, host, port
        self._dead_daemon, self._patience_s = dead_daemon, patience_s

    async def run(self) -> None:
        """Until cancelled. Raises ServingLostError when there is no hope."""
        answered_s = probed_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if (name := self._dead_daemon()) is not None:
                self._health.ready = False
                raise ServingLostError(f"Ray's {name} has died")
            if time.monotonic() - probed_s < PROBE_EVERY_S:
                continue
            silence_s = time.monotonic() - answered_s
            if (reason := await self._probe()) is None:
                answered_s = time.monotonic()
                self._answers(silence_s)
            else:
                self._fails(reason, silence_s)
            probed_s = time.monotonic()

    def _answers(self, silence_s: float) -> None:
        if not self._health.ready:
            log.info("answering again", extra={"after_s": round(silence_s, 1)})
        self._health.ready = True

    def _fails(self, reason: LinkDownError, silence_s: float) -> None:
        if self._health.ready:
            log.warning("not answering", extra={"reason": str(reason)})
        self._health.ready = False
        if silence_s > self._patience_s:
            raise ServingLostError(f"nobody has answered for {silence_s:.0f} s (--start-timeout-s): {reason}")

    async def _probe(self) -> LinkDownError | None:
        """Why nobody answers; None if somebody does."""
        try:
            await describe(self._host, self._port, timeout_s=PROBE_TIMEOUT_S)
        except OverloadedError:
            # Too busy for us is not down.
            return None
        except LinkDownError as error:
            return error
        return None
