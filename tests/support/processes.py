"""Tier processes for tests: the real `tercet` command, ready by probe, gone on any exit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

TERCET = Path(sys.executable).with_name("tercet")
_POLL_S = 0.05


def free_port() -> int:
    """A TCP port on 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class TierProcess:
    """A running `tercet … run`, leader of its own session and process group."""

    process: subprocess.Popen[bytes]
    stderr_path: Path
    health_port: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """HTTP status and report of /livez or /readyz; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=5) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def facts(self) -> dict[str, Any]:
        """What the process says of itself once it is ready, such as its ports."""
        return self.probe("/readyz")[1]

    def wait_ready(self, timeout_s: float) -> None:
        """Until /readyz says 200; AssertionError with the log if it ends or does not within the timeout."""
        deadline_s = time.monotonic() + timeout_s
        while self.probe("/readyz")[0] != 200:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with status {self.process.returncode}:\n{self.stderr()}")
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not ready within {timeout_s} s:\n{self.stderr()}")
            time.sleep(_POLL_S)

    def tree(self) -> list[psutil.Process]:
        """This process and all that descend from it now."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 60) -> int:
        """The exit status; AssertionError with the log if it does not end."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout_s} s:\n{self.stderr()}") from error


@contextlib.contextmanager
def tier_process(
    arguments: Sequence[str],
    log_folder: Path,
    *,
    ready_within_s: float | None = 90,
    environment: dict[str, str] | None = None,
) -> Iterator[TierProcess]:
    """`tercet ARGUMENTS --health-port …` while entered; ended, with all its descendants, on any exit.

    Args:
        log_folder: where its output goes, which is shown if the body raises; and its state, unless `arguments` say.
        ready_within_s: wait for readiness this long before the body; None to not wait.
        environment: variables on top of this process's own.
    """
    health_port = free_port()
    if arguments[0] in ("device", "edge", "cloud") and "--state" not in arguments:
        arguments = [*arguments, "--state", str(log_folder / f"state-{health_port}")]
    stderr_path = log_folder / f"tercet-{arguments[0]}-{health_port}.log"
    with stderr_path.open("wb") as stderr:
        process = subprocess.Popen(
            [str(TERCET), *arguments, "--health-port", str(health_port)],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    tier = TierProcess(process, stderr_path, health_port)
    try:
        if ready_within_s is not None:
            tier.wait_ready(ready_within_s)
        yield tier
    except BaseException:
        sys.stderr.write(f"--- {' '.join(arguments)}\n{tier.stderr()}\n")
        raise
    finally:
        _end(tier)


def alive(processes: Sequence[psutil.Process], *, within_s: float) -> list[str]:
    """The command lines of those of `processes` that are still alive after at most `within_s`."""
    _, left = psutil.wait_procs(list(processes), timeout=within_s)
    return [_command_line(process) for process in left if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.Error:
        return str(process.pid)


def _end(tier: TierProcess) -> None:
    descendants = tier.tree()
    if tier.process.poll() is None:
        tier.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            tier.process.wait(30)
    for process in descendants:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    tier.process.wait(10)
