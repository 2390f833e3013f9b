"""When a cloud is ready, and when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from support.processes import free_port
from tercet.health import Health
from tercet.v1 import inference_pb2, inference_pb2_grpc
from tercet_cloud.serving import serving_watch
from tercet_cloud.serving.serving_watch import ServingLostError, ServingWatch

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(serving_watch, "PROBE_EVERY_S", 0.01)


class Describing(inference_pb2_grpc.InferenceServicer):
    """Answers probes, or says that there is no room."""

    def __init__(self, full: bool) -> None:
        self._full = full

    async def Describe(  # noqa: N802
        self, request: inference_pb2.DescribeRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> inference_pb2.DescribeResponse:
        if self._full:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        return inference_pb2.DescribeResponse()


@asynccontextmanager
async def describing(port: int, *, full: bool = False) -> AsyncIterator[None]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    inference_pb2_grpc.add_InferenceServicer_to_server(Describing(full), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def watched(port: int, *, patience_s: float = 1000) -> AsyncIterator[Health]:
    health = Health("cloud", "cloud-1")
    task = asyncio.create_task(ServingWatch(health, "127.0.0.1", port, lambda: None, patience_s).run())
    try:
        yield health
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(health: Health, *, ready: bool) -> None:
    async with asyncio.timeout(WAIT_S):
        while health.ready is not ready:
            await asyncio.sleep(0.005)


async def test_it_is_ready_while_somebody_answers_and_again_when_somebody_does() -> None:
    port = free_port()
    async with watched(port) as health:
        async with describing(port):
            await until(health, ready=True)
        await until(health, ready=False)
        async with describing(port):
            await until(health, ready=True)


async def test_too_busy_to_answer_a_probe_is_not_down() -> None:
    port = free_port()
    async with describing(port, full=True), watched(port) as health:
        await until(health, ready=True)


async def test_what_does_not_come_back_in_time_is_lost() -> None:
    health = Health("cloud", "cloud-1")
    health.ready = True
    watch = ServingWatch(health, "127.0.0.1", free_port(), lambda: None, patience_s=0)
    with pytest.raises(ServingLostError, match="nobody has answered for"):
        await asyncio.wait_for(watch.run(), WAIT_S)
    assert not health.ready


async def test_a_daemon_that_died_is_named_at_once() -> None:
    health = Health("cloud", "cloud-1")
    health.ready = True
    port = free_port()
    async with describing(port):
        watch = ServingWatch(health, "127.0.0.1", port, lambda: "raylet", patience_s=1000)
        with pytest.raises(ServingLostError, match="Ray's raylet has died"):
            await asyncio.wait_for(watch.run(), WAIT_S)
    assert not health.ready
