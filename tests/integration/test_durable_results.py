"""Durable frames from a device into the real result store: what is stored is what the uncut model gives."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from support.brokers import fresh_embedded
from support.durable import durable_device, durable_edge, until
from support.plain_cloud import plain_cloud
from support.tiny_model import OUTPUT, tiny_deployment, tiny_input, tiny_reference
from tercet.models.store import Store
from tercet.plans import Plan
from tercet.wire.messages import Answer
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.reading import ResultReader, StoredResult
from tercet_cloud.results.result import AgeSource

FRAMES = 12


def read_results(store: Store, node: str) -> list[StoredResult]:
    database = Database(DatabaseUrl.parse(sqlite_url(store.root / "results.db"), "url"))
    try:
        return list(ResultReader(database).in_order(node=node, outputs=True))
    finally:
        database.close()


@pytest.mark.parametrize("plan_id", ["raw", "int8", "edge-only", "cloud-only", "device-only"])
async def test_every_acknowledged_frame_has_its_result_and_its_time(tmp_path: Path, plan_id: str) -> None:
    store = Store(tmp_path / "store")
    tiny = tiny_deployment(store)
    own = Plan(id="device-only", device_until=3, edge_until=3)
    deployment = tiny.model_copy(update={"plans": (*tiny.plans, own)})
    began_s = time.time()
    async with (
        fresh_embedded() as broker,
        plain_cloud(store, deployment) as cloud,
        durable_edge(broker, deployment, store, cloud.address, tmp_path / "edge") as edge,
        durable_device(broker, deployment, store, tmp_path / "device") as agent,
    ):
        recorded = {}
        for seed in range(FRAMES):
            recorded[await agent.deliver({"x": tiny_input(seed)}, deployment.plan(plan_id))] = seed
        assert agent.durable is not None
        await asyncio.wait_for(agent.durable.wait_delivered(), 15)
        await until(lambda: not edge.kept.journal.load().frames)
        assert edge.kept.journal.counters().dead_lettered == 0
    found = await asyncio.to_thread(read_results, store, "cam-1")
    assert [result.key.sequence for result in found] == list(recorded)
    for result in found:
        assert result.outputs is not None
        scores = Answer.open(result.outputs).outputs()[OUTPUT]
        expected = tiny_reference(tiny_input(recorded[result.key.sequence]))[OUTPUT]
        np.testing.assert_allclose(scores, expected, atol=0.3 if plan_id == "int8" else 1e-5)
        assert began_s - 1 < result.captured_unix_us / 1e6 < time.time() + 1
        assert result.age_source is AgeSource.MONOTONIC
        assert not result.late
        assert not result.degraded
