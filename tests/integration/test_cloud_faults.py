"""What a running cloud survives, and how it ends where it cannot: real Ray, HAProxy and processes, one by one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support.deliveries import durable_frame, request_of
from support.processes import TERCET, TierProcess, alive, tier_process
from support.tiny_model import BOUNDARIES, tiny_boundary, tiny_deployment, tiny_input
from tercet.documents import write_document
from tercet.errors import OverloadedError
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import delivery_pb2, inference_pb2, inference_pb2_grpc
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame, error_from_detail
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.reading import ResultReader

CALL_TIMEOUT_S = 20
RECOVERY_S = 90.0
TAKEN = delivery_pb2.DELIVERY_OUTCOME_TAKEN
DUPLICATE = delivery_pb2.DELIVERY_OUTCOME_DUPLICATE
CHANNEL = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]


class Cloud:
    """A running cloud, its folder, and what it was asked to serve."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store")
        self.deployment = tiny_deployment(self.store)
        self.path = folder / "deployment.yaml"
        self.state = folder / "state"
        self.deploy(self.deployment)
        self.process: TierProcess

    def deploy(self, deployment: Deployment) -> None:
        write_document(deployment, self.path)

    def arguments(self) -> list[str]:
        files = ["--store", str(self.store.root), "--deployment", str(self.path), "--state", str(self.state)]
        return ["cloud", "run", *files, "--node", "cloud-1", "--port", "0"]

    def redeploy(self) -> subprocess.CompletedProcess[str]:
        command = [str(TERCET), "cloud", "redeploy", "--health-port", str(self.process.health_port)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)

    def kill(self, name: str) -> None:
        """Kill the processes of the cloud that have this name or title; a HAProxy that was replaced may live on."""
        victims = [
            process
            for process in self.process.tree()
            if process.name() == name or (process.cmdline() or [""])[0].startswith(name)
        ]
        assert victims
        for process in victims:
            process.kill()

    @asynccontextmanager
    async def calls(self) -> AsyncIterator[inference_pb2_grpc.InferenceStub]:
        port = self.process.facts()["grpc_port"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL) as channel:
            yield inference_pb2_grpc.InferenceStub(channel)

    def realtime_frame(self) -> bytes:
        header = pb.FrameHeader(model=self.deployment.model, plan="raw", boundary=2, node="edge-1")
        return Frame.encode(header, {BOUNDARIES[2][0]: tiny_boundary(tiny_input(), 2)}, "raw").seal()

    def stored(self) -> list[tuple[str, int]]:
        database = Database(DatabaseUrl.parse(sqlite_url(self.state / "results.db"), "--results"))
        try:
            return [tuple(result.key) for result in ResultReader(database).in_order()]
        finally:
            database.close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(folder)
    with tier_process(cloud.arguments(), folder) as cloud.process:
        yield cloud


async def until_answered(stub: inference_pb2_grpc.InferenceStub, frame: bytes) -> None:
    """Ask until there is an answer."""
    deadline_s = time.monotonic() + RECOVERY_S
    while True:
        try:
            response = await stub.Infer(inference_pb2.InferRequest(frame=frame), timeout=2)
            assert Answer.open(response.answer).refusal is None
            return
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.1)


async def deliver_all(
    stub: inference_pb2_grpc.InferenceStub, frames: Sequence[bytes]
) -> list[delivery_pb2.DeliveryReceipt]:
    """As an edge does: again, until each is on the cloud's disk; the receipts that said so."""
    deadline_s = time.monotonic() + RECOVERY_S
    for resends in range(1000):
        try:
            response = await stub.Deliver(request_of(frames, resends=resends), timeout=5)
            if all(receipt.outcome in (TAKEN, DUPLICATE) for receipt in response.receipts):
                return list(response.receipts)
            for receipt in response.receipts:
                if receipt.HasField("error"):
                    assert isinstance(error_from_detail(receipt.error), OverloadedError)
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(0.1)
    raise AssertionError("never taken")


async def test_durable_frames_are_stored_once(cloud: Cloud) -> None:
    frames = [durable_frame(cloud.deployment, tiny_input(number), number) for number in range(1, 21)]
    async with cloud.calls() as stub:
        first = await deliver_all(stub, frames)
        again = await deliver_all(stub, frames)
    assert [receipt.outcome for receipt in first] == [TAKEN] * 20
    assert [receipt.outcome for receipt in again] == [DUPLICATE] * 20
    assert cloud.stored() == [("cam-1", number) for number in range(1, 21)]


async def test_another_deployment_is_rolled_out_without_a_failed_request(cloud: Cloud) -> None:
    failed: list[grpc.aio.AioRpcError] = []
    answered = 0
    rolling = True

    async def ask(stub: inference_pb2_grpc.InferenceStub, frame: bytes) -> None:
        nonlocal answered
        while rolling:
            try:
                response = await stub.Infer(inference_pb2.InferRequest(frame=frame), timeout=CALL_TIMEOUT_S)
                assert Answer.open(response.answer).refusal is None
                answered += 1
            except grpc.aio.AioRpcError as error:
                failed.append(error)

    async with cloud.calls() as stub:
        callers = [asyncio.create_task(ask(stub, cloud.realtime_frame())) for _ in range(4)]
        frames = [durable_frame(cloud.deployment, tiny_input(), number, node="roll") for number in range(1, 6)]
        cloud.deploy(cloud.deployment.model_copy(update={"plans": cloud.deployment.plans[:-1]}))
        done = await asyncio.to_thread(cloud.redeploy)
        await deliver_all(stub, frames)
        described = await stub.Describe(inference_pb2.DescribeRequest(), timeout=CALL_TIMEOUT_S)
        rolling = False
        await asyncio.gather(*callers)
    assert done.returncode == 0, done.stderr
    assert failed == []
    assert answered > 0
    assert list(described.models[0].plans) == ["raw", "fp16", "int8", "edge-only"]


async def test_a_deployment_that_cannot_be_served_is_refused_and_the_old_one_goes_on(cloud: Cloud) -> None:
    good = cloud.path.read_text()
    cloud.deploy(cloud.deployment.model_copy(update={"model": "tiny@000000000000"}))
    done = await asyncio.to_thread(cloud.redeploy)
    assert done.returncode == os.EX_DATAERR
    assert "tercet models slice tiny" in done.stderr
    cloud.path.write_text("plans: [")
    done = await asyncio.to_thread(cloud.redeploy)
    assert "the old deployment goes on" in done.stderr
    cloud.path.write_text(good)
    refusals = [line for line in cloud.process.stderr().splitlines() if "new deployment refused" in line]
    assert len(refusals) == 2
    async with cloud.calls() as stub:
        await until_answered(stub, cloud.realtime_frame())


@pytest.mark.parametrize("name", ["ray::ServeReplica", "haproxy"])
async def test_what_serves_may_be_killed_and_comes_back(cloud: Cloud, name: str) -> None:
    node = name.replace(":", "").lower()
    frames = [durable_frame(cloud.deployment, tiny_input(), number, node=node) for number in range(1, 41)]
    async with cloud.calls() as stub:
        delivering = asyncio.create_task(deliver_all(stub, frames))
        cloud.kill(name)
        receipts = await delivering
        await until_answered(stub, cloud.realtime_frame())
    assert len(receipts) == 40
    assert [key for key in cloud.stored() if key[0] == node] == [(node, number) for number in range(1, 41)]


def test_without_rays_daemons_it_ends_at_once_and_leaves_nothing(cloud: Cloud) -> None:
    descendants = cloud.process.tree()
    cloud.kill("raylet")
    assert cloud.process.wait() == os.EX_TEMPFAIL
    last = cloud.process.stderr().splitlines()[-1]
    assert "what was served is lost" in last
    assert "raylet has died" in last
    assert alive(descendants, within_s=5) == []
