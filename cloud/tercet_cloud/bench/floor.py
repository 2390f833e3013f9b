"""Round trips of the bare transports and of an empty call through Ray Serve, in ms.

Each is timed back to back, and paced: after a pause as long as a frame takes, as the real path finds its
transports. A process that has slept is slower to answer than one that is hot.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiomqtt
import grpc.aio

from tercet.clock import Lap
from tercet.process import die_with_parent
from tercet.v1 import inference_pb2, inference_pb2_grpc
from tercet_cloud.bench.echo import ANSWER_TOPIC, REQUEST_TOPIC
from tercet_cloud.stack.tier_process import free_port

CALL_TIMEOUT_S = 10.0
START_TIMEOUT_S = 20.0
WARM_UP = 20


async def time_grpc_echo(calls: int, pause_s: float, request_bytes: int, answer_bytes: int) -> list[float]:
    """Unary calls to a bare grpc.aio server."""
    port = free_port()
    async with _echo("grpc", port, answer_bytes), _stub(f"127.0.0.1:{port}") as stub:
        request = inference_pb2.InferRequest(frame=bytes(request_bytes))
        return await _time(calls, pause_s, lambda: stub.Infer(request, timeout=CALL_TIMEOUT_S))


async def time_serve_empty(calls: int, pause_s: float, cloud_address: str) -> list[float]:
    """`Describe` through HAProxy and a Serve replica: no frame, no model, no batch."""
    async with _stub(cloud_address) as stub:
        request = inference_pb2.DescribeRequest()
        return await _time(calls, pause_s, lambda: stub.Describe(request, timeout=CALL_TIMEOUT_S))


async def time_mqtt_echo(
    calls: int, pause_s: float, request_bytes: int, answer_bytes: int, broker_port: int
) -> list[float]:
    """A publish through the broker, answered by a publish through the broker: QoS 0, as frames are sent."""
    request = bytes(request_bytes)
    async with (
        _echo("mqtt", broker_port, answer_bytes),
        aiomqtt.Client("127.0.0.1", broker_port, protocol=aiomqtt.ProtocolVersion.V5) as client,
    ):
        await client.subscribe(ANSWER_TOPIC)
        answers = aiter(client.messages)

        async def call() -> None:
            await client.publish(REQUEST_TOPIC, request)
            await asyncio.wait_for(anext(answers), CALL_TIMEOUT_S)

        return await _time(calls, pause_s, call)


async def _time(calls: int, pause_s: float, call: Callable[[], Awaitable[object]]) -> list[float]:
    for _ in range(WARM_UP):
        await call()
    lap = Lap()
    times_ms = []
    for _ in range(calls):
        if pause_s:
            await asyncio.sleep(pause_s)
        lap.take()
        await call()
        times_ms.append(lap.take() / 1000)
    return times_ms


@asynccontextmanager
async def running_grpc_echo(answer_bytes: int) -> AsyncIterator[str]:
    """The address of a bare grpc.aio server, in a process of its own, that answers anything with so many bytes."""
    port = free_port()
    async with _echo("grpc", port, answer_bytes):
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def _stub(address: str) -> AsyncIterator[inference_pb2_grpc.InferenceStub]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _echo(kind: str, port: int, answer_bytes: int) -> AsyncIterator[None]:
    """An echo process, ready while entered."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tercet_cloud.bench.echo", kind, str(port), str(answer_bytes)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
