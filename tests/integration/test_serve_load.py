"""The callers of `tercet bench serve` against real parts: what they count is what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.brokers import fresh_embedded
from support.durable import durable_edge
from support.fleets import EdgeOptions, running_edge
from support.plain_cloud import plain_cloud
from support.processes import free_port
from tercet.errors import LinkDownError, WireFormatError
from tercet.file_limit import raise_file_limit
from tercet.identifiers import NodeId
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.wire.messages import Answer
from tercet_cloud.bench import callers, durable_callers
from tercet_cloud.bench.callers import load_devices, load_grpc, load_mqtt
from tercet_cloud.bench.durable_callers import load_durable
from tercet_cloud.bench.durable_rate import durable_frame
from tercet_cloud.bench.light_client import LightClient
from tercet_cloud.bench.small_model import CLOUD_PLAN, EDGE_PLAN, put_small_model, small_frame
from tercet_edge.uplink_load import load_uplink

FLEET = "test"


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Deployment]:
    monkeypatch.setattr(callers, "FLEET", FLEET)
    store = Store(tmp_path)
    return store, put_small_model(store)


async def test_many_light_devices_lose_no_frame(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    async with (
        fresh_embedded() as broker,
        running_edge(broker, deployment, store, None, EdgeOptions(max_frames=256)) as port,
    ):
        seen = await load_devices(f"127.0.0.1:{broker.port}", small_frame(deployment, EDGE_PLAN), 60, 2)
        assert (seen.sent, seen.answered, seen.refused, seen.lost, seen.disconnected) == (120, 120, 0, 0, 0)
        assert port.answered == 120


async def test_frames_that_nobody_answers_count_as_lost(
    deployed: tuple[Store, Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, deployment = deployed
    monkeypatch.setattr(callers, "LAST_ANSWER_S", 0.1)
    async with fresh_embedded() as broker:
        seen = await load_devices(f"127.0.0.1:{broker.port}", small_frame(deployment, EDGE_PLAN), 5, 1)
    assert (seen.sent, seen.answered, seen.lost) == (5, 0, 5)


async def test_refusals_count_as_failed(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    frame = small_frame(deployment, EDGE_PLAN)
    async with (
        fresh_embedded() as broker,
        running_edge(broker, deployment, store, None, EdgeOptions(max_bytes=1)),
    ):
        load = await load_mqtt(f"127.0.0.1:{broker.port}", frame, 2, 0.2)
    assert load.latencies_ms == []
    assert load.failed > 0


async def test_every_kind_of_caller_is_answered(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    frame = small_frame(deployment, CLOUD_PLAN)
    async with (
        fresh_embedded() as broker,
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
    ):
        loads = [
            await load_grpc(cloud.address, frame, 4, 0.2),
            await load_uplink(cloud.address, frame, 4, 0.2, 16),
            await load_mqtt(f"127.0.0.1:{broker.port}", frame, 4, 0.2),
        ]
    assert all(load.latencies_ms and not load.failed for load in loads)


async def test_a_light_client_speaks_mqtt_as_the_edge_does(deployed: tuple[Store, Deployment]) -> None:
    store, deployment = deployed
    answers: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
    async with fresh_embedded() as broker, running_edge(broker, deployment, store, None):
        client = await LightClient.connect(
            "127.0.0.1", broker.port, NodeId("light-1"), FLEET, lambda *answer: answers.put_nowait(answer)
        )
        # Damaged, and long enough for a length of two bytes.
        client.publish(b"7", bytes(300))
        async with asyncio.timeout(5):
            correlation, payload = await answers.get()
        client.close()
    assert correlation == b"7"
    assert isinstance(Answer.open(payload).refusal, WireFormatError)


async def test_a_broker_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        await LightClient.connect("127.0.0.1", free_port(), NodeId("light-1"), FLEET, lambda *_: None)


async def test_a_broker_that_hangs_up_is_named() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LinkDownError, match="light-1"):
            await LightClient.connect("127.0.0.1", port, NodeId("light-1"), FLEET, lambda *_: None)


@contextmanager
def soft_file_limit(limit: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_low_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    resource = pytest.importorskip("resource")
    with soft_file_limit(256):
        raised = raise_file_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256


async def test_durable_callers_count_what_the_edge_has_on_its_disk(
    deployed: tuple[Store, Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_callers, "FLEET", FLEET)
    store, deployment = deployed
    async with (
        fresh_embedded() as broker,
        durable_edge(broker, deployment, store, None, tmp_path / "edge") as edge,
    ):
        load = await load_durable(f"127.0.0.1:{broker.port}", durable_frame(deployment), 3, 0.5, 4)
        assert load.failed == 0
        # Those of the warm-up, and the last ones, are not counted.
        assert edge.kept.journal.load().frames >= 4 * len(load.latencies_ms) > 0
