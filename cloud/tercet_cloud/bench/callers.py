"""Callers of `tercet bench serve`, as processes of their own.

    python -m tercet_cloud.bench.callers grpc HOST:PORT FRAME_FILE CALLERS SECONDS
    python -m tercet_cloud.bench.callers mqtt HOST:PORT FRAME_FILE CALLERS SECONDS
    python -m tercet_cloud.bench.callers devices HOST:PORT FRAME_FILE DEVICES SECONDS

The first two call as fast as they are answered, over one gRPC channel or a connection for each caller. `devices`
send a frame a second each, spread over the second. Each prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc.aio

from tercet.closed_loop import Load, run_callers
from tercet.errors import DeadlineError
from tercet.file_limit import raise_file_limit
from tercet.identifiers import NodeId
from tercet.v1 import inference_pb2, inference_pb2_grpc
from tercet.wire.messages import Answer
from tercet_cloud.bench.light_client import LightClient, OnAnswer
from tercet_cloud.stack.local_stack import FLEET

TIMEOUT_S = 10.0
# After the last frame; what has not come by then is lost.
LAST_ANSWER_S = 5.0
# Connections that are made at once.
CONNECTING = 50


@dataclass
class Devices:
    """What many light devices saw; times in ms. A frame is answered, refused or lost."""

    devices: int
    seconds: float
    sent: int = 0
    answered: int = 0
    refused: int = 0
    twice: int = 0
    disconnected: int = 0
    late_starts: int = 0
    cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list, repr=False)

    @property
    def lost(self) -> int:
        return self.sent - self.answered - self.refused

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Devices:
        return cls(**json.loads(text))


async def load_grpc(address: str, sealed: bytes, callers: int, seconds: float) -> Load:
    """Unary calls over one channel."""
    request = inference_pb2.InferRequest(frame=sealed)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]

        async def call(_: int) -> bool:
            try:
                response = await stub.Infer(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError:
                return False
            return is_good(response.answer)

        return await run_callers(callers, seconds, call)


async def load_mqtt(address: str, sealed: bytes, callers: int, seconds: float) -> Load:
    """Frames of as many devices, each with its own connection and one frame under way."""
    waiting: dict[bytes, asyncio.Future[bytes]] = {}

    def on_answer(correlation: bytes, payload: bytes) -> None:
        future = waiting.pop(correlation, None)
        if future is not None and not future.done():
            future.set_result(payload)

    async with _connected(address, callers, on_answer) as clients:
        numbers = iter(range(1 << 62))

        async def call(caller: int) -> bool:
            correlation = next(numbers).to_bytes(8, "big")
            waiting[correlation] = future = asyncio.get_running_loop().create_future()
            clients[caller].publish(correlation, sealed)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return is_good(await future)
            except TimeoutError:
                del waiting[correlation]
                return False

        return await run_callers(callers, seconds, call)


async def load_devices(address: str, sealed: bytes, devices: int, seconds: float) -> Devices:
    """A frame a second from each device, device n at n/devices of the second."""
    seen = Devices(devices, seconds)
    sent_s: dict[bytes, float] = {}

    def on_answer(correlation: bytes, payload: bytes) -> None:
        began_s = sent_s.pop(correlation, None)
        if began_s is None:
            seen.twice += 1
        elif is_good(payload):
            seen.answered += 1
            seen.latencies_ms.append(round((time.perf_counter() - began_s) * 1000, 3))
        else:
            seen.refused += 1

    async with _connected(address, devices, on_answer) as clients:
        start_s, cpu_s = time.perf_counter(), time.process_time()
        for number in range(round(devices * seconds)):
            due_s = start_s + number / devices
            if (wait_s := due_s - time.perf_counter()) > 0:
                await asyncio.sleep(wait_s)
            elif number % 16 == 0:
                # Behind: answers are read none the less.
                await asyncio.sleep(0)
                seen.late_starts += wait_s < -0.1
            correlation = number.to_bytes(8, "big")
            # From when it was due: a sender that is late must not make the edge look quick.
            sent_s[correlation] = due_s
            clients[number % devices].publish(correlation, sealed)
            seen.sent += 1
        seen.cpu_s = time.process_time() - cpu_s
        until_s = time.perf_counter() + LAST_ANSWER_S
        while sent_s and time.perf_counter() < until_s:
            await asyncio.sleep(0.05)
        seen.disconnected = sum(client.lost for client in clients)
    return seen


def is_good(sealed: bytes) -> bool:
    """Whether an answer carries outputs; the echo's zero bytes count as such."""
    return sealed[:1] == b"\x00" or not Answer.open(sealed).header.HasField("error")


@asynccontextmanager
async def _connected(address: str, count: int, on_answer: OnAnswer) -> AsyncIterator[list[LightClient]]:
    host, _, port = address.rpartition(":")
    raise_file_limit()
    room = asyncio.Semaphore(CONNECTING)

    async def connect(number: int) -> LightClient:
        async with room:
            return await LightClient.connect(host, int(port), NodeId(f"light-{number}"), FLEET, on_answer)

    try:
        clients = await asyncio.gather(*(connect(number) for number in range(count)))
    except TimeoutError as error:
        raise DeadlineError(f"the broker at {address} does not take {count} connections") from error
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def main() -> None:
    kind, address, file, count, seconds = sys.argv[1:]
    what = (address, Path(file).read_bytes(), int(count), float(seconds))
    match kind:
        case "grpc":
            print(asyncio.run(load_grpc(*what)).to_json())
        case "mqtt":
            print(asyncio.run(load_mqtt(*what)).to_json())
        case "devices":
            print(asyncio.run(load_devices(*what)).to_json())
        case _:
            sys.exit(f"{kind!r} is not grpc, mqtt or devices")


if __name__ == "__main__":
    main()
