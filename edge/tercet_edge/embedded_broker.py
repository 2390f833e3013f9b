"""The edge's own MQTT broker: rumqttd, as the iotcore package ships it, in a child process.

It keeps nothing on disk and has no access control: for one machine or a trusted network. Point --broker-url at
Mosquitto or EMQX for more. The child ends when this process does, however that happens, and is started again on the
same port if it ends before.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from iotcore import Broker

from tercet.back_off import BackOff
from tercet.errors import PortBusyError, UnavailableError
from tercet.file_limit import raise_file_limit
from tercet.limits import MIB
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import MAX_PACKET_BYTES

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 0.1
RESTART_FIRST_S, RESTART_MOST_S = 0.1, 5.0
# A broker that ends sooner is not yet one that runs.
_STEADY_S = 10.0

# A log segment must hold the largest packet; rumqttd keeps up to `max_segment_count` of them per filter.
_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 10000
max_outgoing_packet_count = 200
max_segment_size = {segment_bytes}
max_segment_count = 2

[v5.tercet]
name = "tercet"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v5.tercet.connections]
connection_timeout_ms = 5000
max_payload_size = {packet_bytes}
max_inflight_count = 100
dynamic_filters = true
"""


def free_port(host: str) -> int:
    """A port that was free a moment ago; for brokers that can't choose one themselves."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def embedded_broker(host: str, port: int) -> AsyncIterator[BrokerUrl]:
    """Run a broker while entered; port 0 chooses one. Raises PortBusyError, or UnavailableError if it fails."""
    port = port or free_port(host)
    # A device is an open file of the broker's, which inherits our limit.
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="tercet-broker-") as folder:
        config = Path(folder) / "rumqttd.toml"
        config.write_text(
            _CONFIG.format(host=host, port=port, packet_bytes=MAX_PACKET_BYTES, segment_bytes=100 * MIB)
        )
        broker = Broker(config_path=str(config))
        await _start(broker, host, port)
        watch = asyncio.create_task(_keep_running(broker, host, port))
        try:
            yield BrokerUrl("127.0.0.1" if host == "0.0.0.0" else host, port)
        finally:
            watch.cancel()
            await asyncio.wait([watch])
            await asyncio.to_thread(broker.stop)


async def _start(broker: Broker, host: str, port: int) -> None:
    starting = asyncio.ensure_future(asyncio.to_thread(broker.start, START_TIMEOUT_S))
    try:
        # A thread cannot be cancelled: whoever stops the broker must find it started or not.
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        raise
    except OSError as error:
        raise PortBusyError(
            f"cannot start the broker on {host}:{port}, the port is taken; choose another --mqtt-port, or 0"
        ) from error
    except RuntimeError as error:
        raise UnavailableError(f"the embedded broker did not start: {error}") from error


async def _keep_running(broker: Broker, host: str, port: int) -> None:
    """Start the broker again whenever it has ended, until cancelled. Its clients come back by themselves."""
    back_off = BackOff(RESTART_FIRST_S, RESTART_MOST_S)
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if broker.is_running:
            continue
        if time.monotonic() - started_s >= _STEADY_S:
            back_off.reset()
        wait_s = back_off.wait_s()
        log.warning("embedded broker ended, starting it again", extra={"port": port, "in_s": round(wait_s, 2)})
        # Closes what is left of the one that ended.
        broker.stop()
        await asyncio.sleep(wait_s)
        try:
            await _start(broker, host, port)
        except UnavailableError as error:
            log.warning("embedded broker not started", extra={"reason": str(error)})
        else:
            log.info("embedded broker started again", extra={"port": port})
        started_s = time.monotonic()
