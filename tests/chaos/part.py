"""One process of the running system: started, probed, killed by its id, started again, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tercet.process import die_with_parent

POLL_S = 0.05
PROBE_S = 2.0
STOP_S = 20.0
# Every process of a world, and what they start, has it in its environment; `sweep` ends who is left.
MARKER = "CHAOS_WORLD"


class Stuck(Exception):
    """Something did not happen in time: a broken promise, with the words to say so."""


class Part:
    """One process that may die and be started again with the same arguments.

    Args:
        arguments: the whole command.
        log: file that its output is appended to, over all its lives.
        health_port: where it answers /readyz; 0 for a process that does not.
        environment: besides this process's own.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        *,
        health_port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.log = log
        self.health_port = health_port
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started; under supervision, the supervisor's."""
        return self._process.pid if self._process else 0

    @property
    def exit_status(self) -> int | None:
        return self._process.poll() if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"--- {time.monotonic():.3f} start: {' '.join(self.arguments)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def report(self, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
        """HTTP status and body of a health page; 0 while nobody answers."""
        return await asyncio.to_thread(_probe, self.health_port, path)

    async def metrics(self) -> dict[str, float]:
        """What it counts, by name; labels are dropped and their values added. Empty while nobody answers."""
        return await asyncio.to_thread(_metrics, self.health_port)

    async def serving_pid(self) -> int:
        """The process that does the work: under supervision not the one that was started. 0 if none answers."""
        _, facts = await self.report("/livez")
        return int(facts.get("pid", 0))

    async def wait_ready(self, timeout_s: float, *, other_than: int = 0) -> float:
        """When it was ready, by the monotonic clock; Stuck after `timeout_s`, or if it ends before.

        Args:
            other_than: a process id that is expected to be gone.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            status, facts = await self.report()
            if status == 200 and facts.get("pid") != other_than:
                return time.monotonic()
            if not self.running:
                raise Stuck(f"{self.name} ended with status {self.exit_status}: {self.last_words()}")
            if time.monotonic() > deadline_s:
                raise Stuck(f"{self.name} was not ready within {timeout_s:g} s: {self.last_words()}")
            await asyncio.sleep(POLL_S)

    async def wait_exit(self, timeout_s: float) -> int:
        deadline_s = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() > deadline_s:
                raise Stuck(f"{self.name} still ran after {timeout_s:g} s: {self.last_words()}")
            await asyncio.sleep(POLL_S)
        status = self.exit_status
        assert status is not None
        return status

    async def kill_serving(self) -> int:
        """SIGKILL to the process that does the work; returns its id. Stuck if none answers."""
        pid = await self.serving_pid()
        if not pid:
            raise Stuck(f"{self.name} did not answer, so its process could not be found: {self.last_words()}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self) -> None:
        """SIGKILL to the process that was started and everything below it."""
        if self._process is None:
            return
        # The supervisor first, or it would start another.
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(timeout=STOP_S)

    def signal(self, number: signal.Signals, pid: int = 0) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid or self.pid, number)

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL to the whole tree if that is not enough; the exit status."""
        if self._process is None:
            return 0
        tree = self.tree()
        if self.running:
            self._process.terminate()
            with contextlib.suppress(Stuck):
                await self.wait_exit(STOP_S)
        self.kill()
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return self._process.wait(timeout=STOP_S)

    def tree(self) -> list[psutil.Process]:
        """This process and all that descend from it now."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)] if self.running else []
        except psutil.NoSuchProcess:
            return []

    def last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return "no output"
        return lines[-1] if lines else "no output"


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def accepts(port: int) -> bool:
    """Whether somebody takes connections on a loopback port."""
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def crowding() -> float:
    """How much longer than on a free machine things may take here now: the load of each processor, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def listener(port: int, among: Sequence[psutil.Process]) -> int:
    """The id of the process that listens on a port; 0 if none of those does."""
    for process in among:
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return int(process.pid)
    return 0


def titled(title: str, among: Sequence[psutil.Process]) -> list[int]:
    """Ids of the processes whose title or program is this; Ray's actors have their class as their title."""
    found = []
    for process in among:
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words and (title in words[0] or title in Path(words[0]).name):
                found.append(process.pid)
    return found


def marked(world: str) -> list[psutil.Process]:
    """All processes that have a world's mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARKER) == world:
                found.append(process)
    return found


def sweep(world: str) -> list[str]:
    """SIGKILL to whoever is left of a world; returns their command lines."""
    swept = []
    for process in marked(world):
        with contextlib.suppress(psutil.Error):
            swept.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
            process.kill()
    return swept


def _probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PROBE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            try:
                return error.code, json.load(error)
            except ValueError:
                return error.code, {}
    except (OSError, ValueError):
        return 0, {}


def _metrics(port: int) -> dict[str, float]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PROBE_S) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    values: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            bare = name.partition("{")[0]
            values[bare] = values.get(bare, 0.0) + float(value)
    return values
