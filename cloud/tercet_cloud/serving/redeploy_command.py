"""`tercet cloud redeploy`: has a cloud on this machine read its deployment files again, and tells the outcome."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from typing import Any

import click
import psutil

from tercet.errors import DeadlineError, LinkDownError, SpecError
from tercet.printable import printable

_POLL_S = 0.1
_ANSWER_S = 5.0


@click.command()
@click.option("--health-port", type=click.IntRange(1, 65535), required=True, help="Of the cloud: where /readyz is.")
@click.option("--timeout-s", default=300.0, show_default=True, help="How long to wait until it is done.")
def redeploy(health_port: int, timeout_s: float) -> None:
    """Roll out the deployment files that a running cloud was started with, as they are now.

    The same as SIGHUP to its process, and tells the outcome. Requests are answered all the time, and a deployment
    that cannot be served changes nothing.
    """
    before = _report(health_port)
    process = _process(before, health_port)
    process.send_signal(signal.SIGHUP)
    deadline_s = time.monotonic() + timeout_s
    while (now := _report(health_port)).get("deployment") == before.get("deployment"):
        if time.monotonic() > deadline_s:
            raise DeadlineError(f"not rolled out within {timeout_s:g} s; its log says how far it is")
        time.sleep(_POLL_S)
    if reason := now.get("deployment_refused"):
        raise SpecError(f"refused, the old deployment goes on: {printable(str(reason))}")
    click.echo(f"serves {', '.join(map(str, now.get('models', [])))}")


def _report(port: int) -> dict[str, Any]:
    """What the process says of itself, ready or not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=_ANSWER_S) as response:
            report: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            report = json.load(error)
    except (OSError, ValueError) as error:
        raise LinkDownError(
            f"no cloud answers at http://127.0.0.1:{port}/readyz ({error}); is --health-port right?"
        ) from error
    return report


def _process(report: dict[str, Any], port: int) -> psutil.Process:
    """The process that reported; its number counts only if it is of this machine, and it listens on the port."""
    try:
        process = psutil.Process(int(report.get("pid", 0)))
        listens = any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in process.net_connections(kind="inet")
        )
    except (psutil.Error, ValueError):
        listens = False
    if report.get("tier") != "cloud" or "deployment" not in report or not listens or process.pid == os.getpid():
        raise SpecError(f"no `tercet cloud run` that is ready listens on port {port} of this machine")
    return process
