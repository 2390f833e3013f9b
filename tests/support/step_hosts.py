"""Devices and an edge that run steps of pipelines, with a broker of their own, in a thread beside the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from support.brokers import fresh_embedded
from support.fleets import FLEET
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.steps.step_host import StepHost
from tercet.steps.step_port import StepPort
from tercet.tiers import Tier

START_S = STOP_S = 20.0


@contextmanager
def step_hosts(store: Store, nodes: dict[str, Tier], allowed: Sequence[str]) -> Iterator[BrokerUrl]:
    """The broker by which the nodes, of the fleet `FLEET`, are reached."""
    ready: Future[BrokerUrl] = Future()
    over = threading.Event()

    async def serve() -> None:
        async with fresh_embedded() as broker:
            ports = [StepPort(StepHost(store, allowed), NodeId(name), FLEET, tier) for name, tier in nodes.items()]
            tasks = [asyncio.create_task(port.serve(broker)) for port in ports]
            ready.set_result(broker)
            await asyncio.to_thread(over.wait)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    thread = threading.Thread(target=work, name="step-hosts")
    thread.start()
    try:
        yield ready.result(START_S)
    finally:
        over.set()
        thread.join(STOP_S)
