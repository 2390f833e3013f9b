"""Cloud, edge and devices of one deployment on free loopback ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tercet.stack_file import StackFile
from tercet.tiers import Tier
from tercet_cloud.stack.tier_process import TierProcess, free_port, stop_all

CLOUD_READY_S = 90.0
NODE_READY_S = 30.0
FLEET = "demo"


@dataclass(frozen=True)
class LocalStack:
    """A running stack. Devices are started by `start_device` and stopped with it."""

    folder: Path
    file: StackFile
    cloud: TierProcess
    edge: TierProcess
    cloud_address: str
    devices: list[TierProcess]

    @property
    def processes(self) -> list[TierProcess]:
        return [self.cloud, self.edge, *self.devices]

    def start_device(self, node: str, arguments: Sequence[str]) -> TierProcess:
        """Start a device agent of this stack; it ends by itself when its photos are done."""
        process = TierProcess(
            Tier.DEVICE,
            node,
            [
                *("--broker-url", self.file.broker_url, "--fleet", self.file.fleet),
                *("--store", str(self.file.store), "--deployment", str(self.file.deployment)),
                *arguments,
            ],
            self.folder / f"{node}.log",
        )
        process.start()
        self.devices.append(process)
        return process


@asynccontextmanager
async def local_stack(folder: Path, store: Path, deployment: Path) -> AsyncIterator[LocalStack]:
    """Run cloud and edge while entered; both are ready. Logs go to `folder`.

    Raises UnavailableError with the process's own words if one does not start.
    """
    cloud_port, mqtt_port = free_port(), free_port()
    address = f"127.0.0.1:{cloud_port}"
    common = ["--store", str(store), "--deployment", str(deployment)]
    cloud = TierProcess(Tier.CLOUD, "cloud-1", [*common, "--port", str(cloud_port)], folder / "cloud.log")
    edge = TierProcess(
        Tier.EDGE,
        "edge-1",
        [*common, "--fleet", FLEET, "--mqtt-port", str(mqtt_port), "--cloud-address", address],
        folder / "edge.log",
    )
    file = StackFile(broker_url=f"mqtt://127.0.0.1:{mqtt_port}", fleet=FLEET, store=store, deployment=deployment)
    stack = LocalStack(folder, file, cloud, edge, address, [])
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
