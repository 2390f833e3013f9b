"""`python -m tercet.cli.supervised`: the `tercet` command as the child of a supervisor; and how it becomes one."""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

from tercet.cli.main import run
from tercet.errors import SettingsError
from tercet.settings import ProcessSettings
from tercet.supervision import mark_supervised

# Ports that are chosen once, so that a child that is started again is found where the one before it was.
_PORTS = ("health_port", "mqtt_port", "port", "http_port")


def become_supervisor(tier: str, node: str, settings: ProcessSettings) -> NoReturn:
    """Go on as a supervisor of the same command line, in this process's place.

    Args:
        settings: of the command; what is wrong with them has been said by now.
    """
    flags = ["--no-supervise"]
    for name in _PORTS:
        if getattr(settings, name, None) == 0:
            flags += [f"--{name.replace('_', '-')}", str(_free_port(_host_of(settings, name)))]
    command = [sys.executable, "-m", "tercet.cli.supervised", *sys.argv[1:], *flags]
    level, log_format = getattr(settings, "log_level", "info"), getattr(settings, "log_format", "text")
    supervisor = [sys.executable, "-m", "tercet.supervision", tier, node, level, log_format]
    os.execv(sys.executable, [*supervisor, *command])


def _host_of(settings: ProcessSettings, port: str) -> str:
    """The address that a port is of."""
    named = {"health_port": "health_host", "mqtt_port": "mqtt_host"}.get(port, "host")
    return str(getattr(settings, named, "127.0.0.1"))


def _free_port(host: str) -> int:
    """A port that was free a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise SettingsError(f"no port can be had at {host}: {error.strerror}") from error


def main() -> None:
    mark_supervised()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
