"""Cloud, edge and devices of one deployment on free loopback ports; slow links and slow tiers if asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tercet.emulated_pace import EmulatedPace
from tercet.stack_file import StackFile
from tercet.tiers import Tier
from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay_process import RelayProcess
from tercet_cloud.stack.tier_process import TierProcess, free_port, stop_all

CLOUD_READY_S = 90.0
NODE_READY_S = 30.0
FLEET = "demo"


DEVICE_EDGE, EDGE_CLOUD = "device_edge", "edge_cloud"


@dataclass(frozen=True)
class Emulation:
    """What a stack pretends. A link with a condition (None: plain loopback) can be given another while it runs."""

    device_edge: LinkCondition | None = None
    edge_cloud: LinkCondition | None = None
    device_slowdown: float = 1.0
    edge_slowdown: float = 1.0

    def describe(self) -> str:
        """One sentence for whoever reads the figures."""
        parts = [
            f"{link} {condition}"
            for link, condition in (("device–edge", self.device_edge), ("edge–cloud", self.edge_cloud))
            if condition
        ]
        parts += [
            f"{tier} {pace.slowdown:g}× slower"
            for tier, pace in (
                ("device", EmulatedPace(self.device_slowdown)),
                ("edge", EmulatedPace(self.edge_slowdown)),
            )
            if pace.note
        ]
        return f"Emulated on one machine: {'; '.join(parts)}." if parts else "Nothing is emulated."


NO_EMULATION = Emulation()


@dataclass(frozen=True)
class LocalStack:
    """A running stack. Devices are started by `start_device` and stopped with it.

    `links` has the relays DEVICE_EDGE and EDGE_CLOUD of the emulation, as far as it has them.
    """

    folder: Path
    file: StackFile
    cloud: TierProcess
    edge: TierProcess
    cloud_address: str
    devices: list[TierProcess]
    emulation: Emulation
    links: RelayProcess

    @property
    def processes(self) -> list[TierProcess]:
        return [self.cloud, self.edge, *self.devices]

    def start_device(self, node: str, arguments: Sequence[str], *, deployment: Path | None = None) -> TierProcess:
        """Start a device agent of this stack; it ends by itself when its photos are done.

        Args:
            deployment: one of the stack's; its first if left out.
        """
        process = TierProcess(
            Tier.DEVICE,
            node,
            [
                *("--broker-url", self.file.broker_url, "--fleet", self.file.fleet),
                *("--store", str(self.file.store), "--deployment", str(deployment or self.file.deployment)),
                *("--state", str(self.folder / "state" / node)),
                *_slowed(self.emulation.device_slowdown),
                *arguments,
            ],
            self.folder / f"{node}.log",
        )
        process.start()
        self.devices.append(process)
        return process


def _slowed(slowdown: float) -> list[str]:
    return [] if slowdown == 1 else ["--emulated-slowdown", str(slowdown)]


@asynccontextmanager
async def local_stack(
    folder: Path,
    store: Path,
    deployment: Path,
    emulation: Emulation = NO_EMULATION,
    *,
    others: Sequence[Path] = (),
    cloud_options: Sequence[str] = (),
    edge_options: Sequence[str] = (),
) -> AsyncIterator[LocalStack]:
    """Run cloud and edge while entered; both are ready. Logs and what nodes keep go to `folder`.

    Args:
        others: deployments that are served beside the first.
        cloud_options, edge_options: more of `tercet cloud run` and `tercet edge run`.
    Raises UnavailableError with the process's own words if one does not start.
    """
    async with AsyncExitStack() as resources:
        cloud_port, mqtt_port = free_port(), free_port()
        cloud_seen, mqtt_seen = cloud_port, mqtt_port
        links = RelayProcess()
        if emulation.device_edge or emulation.edge_cloud:
            await resources.enter_async_context(links)
        if emulation.device_edge:
            mqtt_seen = await links.open(DEVICE_EDGE, mqtt_port, emulation.device_edge)
        if emulation.edge_cloud:
            cloud_seen = await links.open(EDGE_CLOUD, cloud_port, emulation.edge_cloud, seed=2)
        served = [argument for path in (deployment, *others) for argument in ("--deployment", str(path))]
        common = ["--store", str(store), *served]
        cloud = TierProcess(
            Tier.CLOUD,
            "cloud-1",
            [*common, "--port", str(cloud_port), "--state", str(folder / "state" / "cloud-1"), *cloud_options],
            folder / "cloud.log",
        )
        edge = TierProcess(
            Tier.EDGE,
            "edge-1",
            [
                *(*common, "--fleet", FLEET, "--mqtt-port", str(mqtt_port)),
                *("--cloud-address", f"127.0.0.1:{cloud_seen}", *_slowed(emulation.edge_slowdown)),
                *("--state", str(folder / "state" / "edge-1")),
                *edge_options,
            ],
            folder / "edge.log",
        )
        file = StackFile(
            broker_url=f"mqtt://127.0.0.1:{mqtt_seen}",
            fleet=FLEET,
            store=store,
            deployment=deployment,
            device_slowdown=emulation.device_slowdown,
        )
        stack = LocalStack(folder, file, cloud, edge, f"127.0.0.1:{cloud_port}", [], emulation, links)
        try:
            cloud.start()
            edge.start()
            async with asyncio.TaskGroup() as waits:
                waits.create_task(cloud.wait_ready(CLOUD_READY_S))
                waits.create_task(edge.wait_ready(NODE_READY_S))
            yield stack
        finally:
            # Against the flow of data, so that nobody's next tier leaves first.
            await stop_all([*stack.devices, edge, cloud])
