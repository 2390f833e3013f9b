"""A broker that is nobody's part: Mosquitto where it is installed, else the broker that edges embed, by itself."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from chaos.part import POLL_S, Part, Stuck, accepts
from support.brokers import CONFIGURATION, MOSQUITTO
from tercet.limits import MIB
from tercet.links.mqtt import MAX_PACKET_BYTES

START_S = 10.0
_RUMQTTD = """\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = {segment_bytes}
max_segment_count = 2
[v5.chaos]
name = "chaos"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.chaos.connections]
connection_timeout_ms = 5000
max_payload_size = {packet_bytes}
max_inflight_count = 100
dynamic_filters = true
"""


def broker_name() -> str:
    return "Mosquitto" if MOSQUITTO else "rumqttd by itself (Mosquitto is not installed)"


def broker_part(folder: Path, port: int, environment: Mapping[str, str], name: str = "broker") -> Part:
    """Not started yet."""
    configuration = folder / f"{name}.conf"
    if MOSQUITTO:
        text = CONFIGURATION.read_text(encoding="utf-8")
        assert "listener 1883 " in text
        configuration.write_text(text.replace("listener 1883 ", f"listener {port} "), encoding="utf-8")
        command = [MOSQUITTO, "-c", str(configuration)]
    else:
        configuration.write_text(
            _RUMQTTD.format(port=port, segment_bytes=100 * MIB, packet_bytes=MAX_PACKET_BYTES), encoding="utf-8"
        )
        command = [sys.executable, "-m", "iotcore", "--config", str(configuration), "--log-level", "WARNING"]
    return Part(name, command, folder / "logs" / f"{name}.log", environment=environment)


async def wait_listening(broker: Part, port: int) -> float:
    """When it took connections, by the monotonic clock."""
    deadline_s = time.monotonic() + START_S
    while not await accepts(port):
        if time.monotonic() > deadline_s:
            raise Stuck(f"{broker.name} did not listen within {START_S:g} s: {broker.last_words()}")
        await asyncio.sleep(POLL_S)
    return time.monotonic()
