"""Watches one connection, so that a half-open one is noticed within five seconds: the shell around `liveness`.

A ping costs a broker less than any message: the embedded one keeps what is published, even to nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time

import aiomqtt

from tercet.links.liveness import LOOK_EVERY_S, Liveness
from tercet.links.paho_connection import PahoConnection, cut

log = logging.getLogger(__name__)

# aiomqtt learns of the cut in its next turns.
_CUT_S = 0.1


class Heartbeat:
    """Of one connected client. `run` it beside whatever uses the connection."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._connection = PahoConnection(client)
        self._liveness: Liveness | None = None
        self._silent = False

    async def run(self) -> None:
        """Until cancelled, or the connection is closed by others.

        Raises:
            MqttError: nothing came for too long; the connection is cut then.
        """
        while (traffic := self._connection.traffic()) is not None:
            now_s = time.monotonic()
            if self._liveness is None:
                self._liveness = Liveness(now_s, traffic)
            match self._liveness.look(now_s, traffic):
                case "ping":
                    self._connection.ping()
                case "dead":
                    self._silent = True
                    cut(self._client)
                    await asyncio.sleep(_CUT_S)
                    raise aiomqtt.MqttError(f"nothing came from the broker for {self._liveness.silent_s:.1f} s")
            await asyncio.sleep(LOOK_EVERY_S)
        # Closed: who reads messages is told. Whoever does not is ended by this.
        raise aiomqtt.MqttError("the connection was closed")

    def was_uploading(self, for_s: float) -> bool:
        """Whether others ended the connection while a ping had been waiting for so long behind an upload."""
        return (
            not self._silent and self._liveness is not None and self._liveness.waited_s(time.monotonic()) >= for_s
        )
