"""Fresh MQTT brokers on free ports: the embedded one, and Mosquitto with the configuration in deploy/."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.processes import free_port
from tercet.links.broker_url import BrokerUrl
from tercet_edge.embedded_broker import embedded_broker

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "mosquitto" / "mosquitto.conf"
# Debian keeps it where only root's PATH looks.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
START_S = 10.0


@asynccontextmanager
async def fresh_embedded() -> AsyncIterator[BrokerUrl]:
    async with embedded_broker("127.0.0.1", free_port()) as broker:
        yield broker


@asynccontextmanager
async def fresh_mosquitto(folder: Path) -> AsyncIterator[BrokerUrl]:
    """Mosquitto on a free port, otherwise exactly as deploy/ configures it; gone on any exit."""
    assert MOSQUITTO is not None
    port = free_port()
    configuration = folder / "mosquitto.conf"
    text = CONFIGURATION.read_text(encoding="utf-8")
    assert "listener 1883 127.0.0.1" in text
    configuration.write_text(text.replace("listener 1883 ", f"listener {port} "), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        MOSQUITTO, "-c", str(configuration), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(START_S):
            while not await _accepts(port):
                await asyncio.sleep(0.02)
        yield BrokerUrl("127.0.0.1", port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
