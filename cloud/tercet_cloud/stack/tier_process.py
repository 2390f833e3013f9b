"""One tier as a child process: started, awaited until ready, watched, stopped. Never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tercet.errors import DeadlineError, InvariantError, TercetError, UnavailableError
from tercet.process import die_with_parent
from tercet.tiers import Tier

POLL_S = 0.05
KILL_AFTER_S = 30.0


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TierProcess:
    """`tercet TIER run …` as a child.

    Args:
        arguments: after `tercet TIER run`, without the health options, which are added.
        log: file for its stdout and stderr.
    """

    def __init__(self, tier: Tier, node: str, arguments: Sequence[str], log: Path) -> None:
        self.tier = tier
        self.node = node
        self.log = log
        self.health_port = free_port()
        self._arguments = [
            sys.executable,
            *("-m", "tercet.cli", tier.value, "run", *arguments),
            *("--node", node, "--health-port", str(self.health_port)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def exit_status(self) -> int | None:
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the child in a session of its own: a Ctrl-C reaches it only through `stop`."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    async def wait_ready(self, timeout_s: float) -> None:
        """Return once /readyz says so; UnavailableError with the child's last words if it ends before."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await asyncio.to_thread(_is_ready, self.health_port):
                    if self.exit_status is not None:
                        raise UnavailableError(f"{self._name} ended before it was ready: {self.last_words()}")
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise DeadlineError(
                f"{self._name} was not ready within {timeout_s:g} s: {self.last_words()}; see {self.log}"
            ) from error

    async def wait_exit(self, timeout_s: float) -> int:
        """The exit status; DeadlineError after `timeout_s`."""
        if self._process is None:
            raise InvariantError(f"{self._name} was never started")
        try:
            return await asyncio.to_thread(self._process.wait, timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DeadlineError(f"{self._name} did not end within {timeout_s:g} s; see {self.log}") from error

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL to what is left of its session after KILL_AFTER_S."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                await self.wait_exit(KILL_AFTER_S)
            except DeadlineError:
                self.kill()

    def kill(self) -> None:
        """SIGKILL the child and everything in its session, at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=5)

    def last_words(self) -> str:
        """The last line it printed: for errors, what it says is wrong."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            return "no output"
        return lines[-1].removeprefix("tercet: ") if lines else "no output"

    @property
    def _name(self) -> str:
        return f"{self.tier} {self.node}"


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def stop_all(processes: Sequence[TierProcess]) -> None:
    """Stop in the order given, each even if another fails or we are cancelled."""
    failures: list[TercetError] = []
    for process in processes:
        try:
            await process.stop()
        except asyncio.CancelledError:
            for rest in processes:
                rest.kill()
            raise
        except TercetError as error:
            failures.append(error)
    if failures:
        raise failures[0]
