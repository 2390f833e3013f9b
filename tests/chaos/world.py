"""One whole running system: cloud with its Ray, edges, a broker, relays between them, and devices on demand.

Everything is a real process on a free port of the loopback, started under `--supervise`, killed by its process id
and gone when the world is left, however that happens. One world serves many seeds of one scenario, because a Ray
takes ten seconds to start; devices are new for every seed, with a name and a state folder of their own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from chaos.broker import broker_part, wait_listening
from chaos.evidence import RealtimeLog
from chaos.model import Album, draw_photos, write_deployment
from chaos.part import MARKER, Part, Stuck, free_port, listener, sweep, titled
from chaos.small_disk import SmallDisk
from tercet.models.store import Store
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay_process import RelayProcess

FLEET = "chaos"
# The device whose realtime frames run beside the durable ones, as long as the world does.
LIVE = "live"
PHOTOS = 1000
CLOUD_READY_S = 180.0
NODE_READY_S = 60.0
# Links, as relays know them: devices to the broker, edges to a broker apart, edges to the cloud.
DEVICE_LINK, BROKER_LINK, CLOUD_LINK = "device_broker", "edge_broker", "edge_cloud"
LINKS = (DEVICE_LINK, BROKER_LINK, CLOUD_LINK)
GOOD = LinkCondition()


@dataclass(frozen=True)
class Layout:
    """What a world is made of.

    Args:
        edges: that share one subscription; several need a broker apart.
        broker_apart: a broker that is no edge's child.
        disordered: devices have a broker of their own, and a process between it and the edges' that passes messages
            on twice or out of order; and so between edges and cloud.
        small_disk_bytes: whose state lies on a file system of this size: "cloud", an edge, or "cameras".
        cloud, edge: more options of `tercet cloud run` and `tercet edge run`.
    """

    edges: int = 1
    broker_apart: bool = False
    disordered: bool = False
    small_disk_bytes: dict[str, int] = field(default_factory=dict)
    cloud: tuple[str, ...] = ()
    edge: tuple[str, ...] = ()


class World:
    """Use as an async context manager; parts are ready when it is entered."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self.layout = layout
        self.folder = folder
        self.photos = folder / "photos"
        self.album = Album((), np.empty((0, 5), np.float32))
        self.links = RelayProcess()
        self.edges: list[Part] = []
        self.devices: dict[str, Part] = {}
        self.live = RealtimeLog(self.results(LIVE))
        self.broker: Part | None = None
        # Cloud and brokers, as far as they were started.
        self._others: list[Part] = []
        self.mark = f"chaos-{secrets.token_hex(6)}"
        self._environment = {MARKER: self.mark}
        self._stack = AsyncExitStack()
        self._store = Store(folder / "store")
        self.broker_port, self.cloud_port = free_port(), free_port()
        self._device_url = ""
        self.disks: dict[str, SmallDisk] = {}

    async def __aenter__(self) -> World:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _start(self) -> None:
        self.album = await asyncio.to_thread(draw_photos, self.photos, PHOTOS)
        for file in (self.deployment, self.cloud_deployment):
            write_deployment(self._store, file)
        for tier, size_bytes in self.layout.small_disk_bytes.items():
            self.disks[tier] = self._stack.enter_context(SmallDisk(self.folder / "state" / tier, size_bytes))
        await self._stack.enter_async_context(self.links)
        cloud_seen = await self.links.open(CLOUD_LINK, self.cloud_port, GOOD)
        edge_seen = await self.links.open(BROKER_LINK, self.broker_port, GOOD)
        device_port = self.broker_port
        if self.layout.disordered:
            device_port, cloud_seen = await self._disorder(cloud_seen)
        device_seen = await self.links.open(DEVICE_LINK, device_port, GOOD)
        self._device_url = f"mqtt://127.0.0.1:{device_seen}"
        if self.layout.broker_apart:
            self.broker = broker_part(self.folder, self.broker_port, self._environment)
            self.broker.start()
            self._others.append(self.broker)
            await wait_listening(self.broker, self.broker_port)
        self.cloud = self._tier(
            "cloud",
            "cloud",
            [*("--port", str(self.cloud_port)), *("--drain-s", "5"), *self.layout.cloud],
        )
        for number in range(1, self.layout.edges + 1):
            name = f"edge-{number}"
            broker = (
                ["--broker-url", f"mqtt://127.0.0.1:{edge_seen}"]
                if self.layout.broker_apart
                else ["--mqtt-port", str(self.broker_port)]
            )
            cloud = ["--cloud-address", f"127.0.0.1:{cloud_seen}"]
            self.edges.append(self._tier("edge", name, [*broker, *cloud, "--fleet", FLEET, *self.layout.edge]))
        self._others.insert(0, self.cloud)
        for part in (self.cloud, *self.edges):
            part.start()
        await self.settled(CLOUD_READY_S)

    async def _disorder(self, cloud_seen: int) -> tuple[int, int]:
        """Another broker for devices, and who stands between it and the edges' and before the cloud.

        Returns the ports of that broker and of what edges are to take for the cloud.
        """
        port = free_port()
        broker = broker_part(self.folder, port, self._environment, "device-broker")
        broker.start()
        self._others.append(broker)
        await wait_listening(broker, port)
        between = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chaos.disorder", "--seed", "1"),
            *("--devices", str(port), "--edges", str(self.broker_port), "--cloud", str(cloud_seen)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **self._environment},
            cwd=Path(__file__).parents[1],
        )
        self._stack.push_async_callback(_end_between, between)
        assert between.stdout is not None
        async with asyncio.timeout(NODE_READY_S):
            return port, int(await between.stdout.readline())

    async def _end(self) -> None:
        parts = [*self.devices.values(), *self.edges, *self._others]
        try:
            for part in parts:
                with suppress(Stuck, psutil.Error):
                    await part.stop()
        finally:
            sweep(self.mark)
            await self._stack.aclose()

    @property
    def edge(self) -> Part:
        return self.edges[0]

    @property
    def deployment(self) -> Path:
        return self.folder / "deployment.yaml"

    @property
    def cloud_deployment(self) -> Path:
        """The cloud's own copy, which may be changed for it alone."""
        return self.folder / "cloud-deployment.yaml"

    async def redeploy(self, spare_plan: str, timeout_s: float) -> None:
        """Have the cloud roll out its deployment with a further plan, by `tercet cloud redeploy`."""
        write_deployment(self._store, self.cloud_deployment, spare_plan)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tercet.cli", "cloud", "redeploy"),
            *("--health-port", str(self.cloud.health_port), "--timeout-s", str(timeout_s)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self._environment},
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise Stuck(f"tercet cloud redeploy ended with {process.returncode}: {said.decode()[-200:]}")

    def state(self, node: str) -> Path:
        """A node's state folder; those of cameras lie in one folder."""
        return self.folder / "state" / ("cameras" if node.startswith("cam-") else "") / node

    def results(self, node: str) -> Path:
        return self.folder / "results" / f"{node}.jsonl"

    async def settled(self, timeout_s: float = NODE_READY_S) -> None:
        """Return once cloud and edges are ready; Stuck if they are not in time."""
        async with asyncio.TaskGroup() as waits:
            for part in (self.cloud, *self.edges):
                waits.create_task(part.wait_ready(timeout_s))

    def device(self, node: str, arguments: Sequence[str]) -> Part:
        """Start a device agent."""
        self.results(node).parent.mkdir(parents=True, exist_ok=True)
        part = self._tier(
            "device",
            node,
            [
                *("--fleet", FLEET, "--broker-url", self._device_url),
                *("--results", str(self.results(node)), *arguments),
            ],
        )
        part.start()
        self.devices[node] = part
        return part

    def forget(self, node: str) -> None:
        """A device that has ended, and its state folder, are no longer of interest."""
        self.devices.pop(node, None)
        shutil.rmtree(self.state(node), ignore_errors=True)

    async def bend(self, link: str, condition: LinkCondition) -> float:
        """Change a link; returns when, by the monotonic clock."""
        await self.links.change(link, condition)
        return time.monotonic()

    def _tier(self, tier: str, node: str, arguments: Sequence[str]) -> Part:
        health_port = free_port()
        return Part(
            node,
            [
                *(sys.executable, "-m", "tercet.cli", tier, "run", "--node", node),
                *("--store", str(self._store.root)),
                *("--deployment", str(self.cloud_deployment if tier == "cloud" else self.deployment)),
                *("--state", str(self.state(node)), "--health-port", str(health_port)),
                "--supervise",
                *arguments,
            ],
            self.folder / "logs" / f"{node}.log",
            health_port=health_port,
            environment=self._environment,
        )

    # Processes below the parts, found by what they do, never by a broad name.

    def broker_pid(self) -> int:
        """Who listens on the broker's port: an edge's child, or the broker apart."""
        among = self.broker.tree() if self.broker else [process for edge in self.edges for process in edge.tree()]
        return listener(self.broker_port, among)

    def ray_pids(self, title: str) -> list[int]:
        """Processes of the cloud's Ray whose title or program is this."""
        return titled(title, self.cloud.tree())


async def _end_between(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
