"""The edge's own broker dies: it is there again on its port, and its clients come back by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil

from support.fleets import EdgeOptions, running_device, running_edge
from support.processes import free_port
from support.tiny_model import INPUT, tiny_deployment, tiny_input
from tercet.models.store import Store
from tercet_edge.embedded_broker import embedded_broker

# The promise is five seconds; the rest is for a machine that is busy with other things.
SERVING_AGAIN_S = 5.0 + 3.0


def broker_process(port: int) -> psutil.Process | None:
    """The child of this process that listens on a port."""
    for child in psutil.Process(os.getpid()).children(recursive=True):
        try:
            listening = [one.laddr.port for one in child.net_connections() if one.status == psutil.CONN_LISTEN]
        except psutil.Error:
            continue
        if port in listening:
            return child
    return None


async def test_a_killed_broker_is_back_on_its_port_and_frames_go_the_planned_way_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    deployment = tiny_deployment(store)
    port = free_port()
    async with (
        embedded_broker("127.0.0.1", port) as broker,
        running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)) as edge,
        running_device(broker, deployment, store, fallback=True, deadline_s=2.0) as agent,
    ):
        plan = deployment.plan("edge-only")
        for _ in range(3):
            victim = broker_process(port)
            assert victim is not None
            victim.send_signal(signal.SIGKILL)
            async with asyncio.timeout(SERVING_AGAIN_S):
                while agent.online and edge.online:
                    await asyncio.sleep(0.01)
                while not (agent.online and edge.online):
                    await asyncio.sleep(0.01)
                while (await agent.infer({INPUT: tiny_input()}, plan)).header.route.degraded:
                    await asyncio.sleep(0.01)
            back = broker_process(port)
            assert back is not None
            assert back.pid != victim.pid
    assert broker_process(port) is None
