"""Liveness and readiness over HTTP, for Kubernetes probes, `curl` and supervisors.

    GET /livez    200 while the event loop turns (its last beat is < 10 s old), else 503
    GET /readyz   200 once the process does its work, 503 before and while it drains
    both answer   {"ok": …, "tier": …, "node": …, "pid": …, …facts}
    GET /metrics  what the process counts and measures, for Prometheus

Runs in a thread of its own, so that a stuck event loop is seen from outside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socketserver
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tercet.errors import PortBusyError
from tercet.metrics import CONTENT_TYPE, Metric, render

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0
DEAD_AFTER_S = 10.0


class Health:
    """What a process says of itself. Written by the event loop, read by the HTTP thread."""

    def __init__(self, tier: str, node: str) -> None:
        self.tier, self.node = tier, node
        self.ready = False
        # A further condition, such as a connection; read by the HTTP thread.
        self.condition: Callable[[], bool] = lambda: True
        # Anything worth showing, such as the ports that were chosen; replaced, never mutated.
        self.facts: dict[str, object] = {}
        self.metrics: list[Metric] = []
        # Further facts, which change; asked in the event loop, with every beat.
        self.observe: Callable[[], dict[str, object]] = dict
        self._last_beat_s = time.monotonic()

    async def beat(self) -> None:
        """Keep saying that the event loop turns, until cancelled."""
        while True:
            self._last_beat_s = time.monotonic()
            self.facts = {**self.facts, **self.observe()}
            await asyncio.sleep(BEAT_EVERY_S)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat while entered."""
        task = asyncio.create_task(self.beat())
        try:
            yield
        finally:
            task.cancel()

    @property
    def live(self) -> bool:
        return time.monotonic() - self._last_beat_s < DEAD_AFTER_S

    def report(self, *, ok: bool) -> dict[str, object]:
        return {"ok": ok, "tier": self.tier, "node": self.node, "pid": os.getpid(), **self.facts}


class HealthServer:
    """Serves a `Health` on HOST:PORT (0 chooses a port) while entered. Raises PortBusyError on entry."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"health": health})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise PortBusyError(
                f"cannot serve health on {host}:{port} ({error.strerror}); choose another --health-port or 0"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's full name, which stalls where there is no DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Logged like anything else, and a client that leaves before its answer not at all."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("health request failed")


class _Handler(BaseHTTPRequestHandler):
    health: Health
    timeout = 5

    def do_GET(self) -> None:
        if self.path == "/livez":
            self._answer(self.health.live)
        elif self.path == "/readyz":
            self._answer(self.health.live and self.health.ready and self.health.condition())
        elif self.path == "/metrics":
            labels = {"tier": str(self.health.tier), "node": self.health.node}
            self._send(200, CONTENT_TYPE, render(self.health.metrics, labels).encode())
        else:
            self.send_error(404, "there are /livez, /readyz and /metrics")

    def _answer(self, ok: bool) -> None:
        body = json.dumps(self.health.report(ok=ok), default=str).encode() + b"\n"
        self._send(200 if ok else 503, "application/json", body)

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes every few seconds are not events."""
