"""`tercet cloud run` as a real process: Ray, Serve, HAProxy and gRPC, with nothing replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import psutil
import pytest

from support import slow_model
from support.processes import TERCET, TierProcess, alive, tier_process
from support.slow_model import slow_deployment
from support.tiny_model import (
    BOUNDARIES,
    INPUT_SIZE,
    OUTPUT,
    tiny_boundary,
    tiny_deployment,
    tiny_input,
    tiny_reference,
)
from tercet.codecs.codec import Float32Array
from tercet.documents import write_document
from tercet.error_codes import CODES
from tercet.errors import (
    FrameTooLargeError,
    IntegrityError,
    LinkDownError,
    NotFoundError,
    OverloadedError,
    PortBusyError,
    SpecError,
    TercetError,
    WireFormatError,
)
from tercet.limits import MAX_FRAME_BYTES, MAX_TENSOR_BYTES, MIB
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import frame_pb2 as pb
from tercet.v1 import inference_pb2, inference_pb2_grpc
from tercet.wire.messages import Answer, Frame

LARGEST_MESSAGE = [
    ("grpc.max_receive_message_length", 2 * MAX_FRAME_BYTES),
    ("grpc.max_send_message_length", 2 * MAX_FRAME_BYTES),
]
CALL_TIMEOUT_S = 60
# 8 MiB of input: long enough under way to be interrupted.
SLOW_ROWS = 8 * MIB // (4 * INPUT_SIZE)


@dataclass(frozen=True)
class Deployed:
    """A store with the tiny model, and how to serve it."""

    store: Store
    deployment: Deployment
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Client:
    stub: inference_pb2_grpc.InferenceStub
    deployment: Deployment

    async def infer(self, sealed: bytes) -> Answer:
        request = inference_pb2.InferRequest(frame=sealed)
        response = await self.stub.Infer(request, timeout=CALL_TIMEOUT_S)
        return Answer.open(response.answer)

    def frame(self, x: Float32Array, *, plan: str = "raw", boundary: int = 2, model: str | None = None) -> bytes:
        header = pb.FrameHeader(model=model or self.deployment.model, plan=plan, boundary=boundary, node="edge-1")
        return Frame.encode(header, {BOUNDARIES[boundary][0]: tiny_boundary(x, boundary)}, plan_codec(plan)).seal()


def plan_codec(plan: str) -> str:
    return plan if plan in ("raw", "fp16", "int8") else "raw"


@asynccontextmanager
async def client_of(cloud: TierProcess, deployed: Deployed) -> AsyncIterator[Client]:
    port = cloud.facts()["grpc_port"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=LARGEST_MESSAGE) as channel:
        yield Client(inference_pb2_grpc.InferenceStub(channel), deployed.deployment)


def deploy(folder: Path) -> Deployed:
    store = Store(folder / "store")
    deployment = tiny_deployment(store)
    write_document(deployment, folder / "deployment.yaml")
    arguments = ("cloud", "run", "--store", str(store.root), "--deployment", str(folder / "deployment.yaml"))
    return Deployed(store, deployment, (*arguments, "--node", "cloud-1", "--state", str(folder / "state")))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return deploy(tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="module")
def cloud(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierProcess]:
    """One cloud for the tests that leave it as it was."""
    with tier_process([*deployed.arguments, "--port", "0"], tmp_path_factory.mktemp("logs")) as process:
        yield process


@pytest.mark.parametrize(("plan", "tolerance"), [("raw", 1e-5), ("fp16", 0.01), ("int8", 0.1)])
async def test_an_answer_is_what_the_uncut_model_gives(
    cloud: TierProcess, deployed: Deployed, plan: str, tolerance: float
) -> None:
    x = tiny_input(rows=3)
    async with client_of(cloud, deployed) as client:
        answer = await client.infer(client.frame(x, plan=plan))
    np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=tolerance)
    (visit,) = answer.header.route.visits
    assert (visit.node, visit.from_boundary, visit.to_boundary) == ("cloud-1", 2, 3)
    assert 0 < visit.compute_us < visit.total_us


async def test_concurrent_frames_share_runs_and_keep_their_answers(cloud: TierProcess, deployed: Deployed) -> None:
    # Large enough that a run lasts longer than the next frames take to arrive.
    inputs = [tiny_input(seed, rows=20_000) for seed in range(24)]
    async with client_of(cloud, deployed) as client:
        answers = await asyncio.gather(*(client.infer(client.frame(x)) for x in inputs))
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=1e-4)
    assert max(answer.header.route.visits[0].batch_size for answer in answers) > 1


async def test_a_frame_of_64_mib_passes_and_a_larger_one_is_refused_with_the_limit(
    cloud: TierProcess, deployed: Deployed
) -> None:
    rows = MAX_TENSOR_BYTES // (4 * INPUT_SIZE)
    x = tiny_input(rows=rows)
    async with client_of(cloud, deployed) as client:
        frame = client.frame(x, plan="cloud-only", boundary=0)
        assert len(frame) > MAX_TENSOR_BYTES
        answer = await client.infer(frame)
        outputs = answer.outputs()[OUTPUT]
        np.testing.assert_allclose(outputs[-8:], tiny_reference(x[-8:])[OUTPUT], rtol=0, atol=1e-4)
        with pytest.raises(FrameTooLargeError, match=r"65\.0 MiB"):
            (await client.infer(bytes(MAX_FRAME_BYTES + 1))).outputs()
        with pytest.raises(grpc.aio.AioRpcError, match=str(MAX_FRAME_BYTES + MIB)) as refused:
            await client.infer(bytes(MAX_FRAME_BYTES + 2 * MIB))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_bad_frame_gets_its_error_as_an_answer(cloud: TierProcess, deployed: Deployed) -> None:
    async with client_of(cloud, deployed) as client:
        good = client.frame(tiny_input())
        cases: list[tuple[bytes, type[TercetError]]] = [
            (good[:-1] + bytes([good[-1] ^ 1]), WireFormatError),
            (good[:40], WireFormatError),
            (client.frame(tiny_input(), model="other@0123456789ab"), NotFoundError),
        ]
        for sealed, kind in cases:
            answer = await client.infer(sealed)
            with pytest.raises(kind):
                answer.outputs()
            assert answer.header.route.visits[0].received_bytes == len(sealed)
        assert (await client.infer(good)).outputs()


async def test_frames_of_one_call_each_get_their_own_answer(cloud: TierProcess, deployed: Deployed) -> None:
    inputs = [tiny_input(seed) for seed in range(20)]
    async with client_of(cloud, deployed) as client:
        frames = [client.frame(x) for x in inputs]
        frames[3] = frames[3][:-1]
        request = inference_pb2.InferManyRequest(frames=frames)
        response = await client.stub.InferMany(request, timeout=CALL_TIMEOUT_S)
    answers = [Answer.open(sealed) for sealed in response.answers]
    assert isinstance(answers.pop(3).refusal, WireFormatError)
    inputs.pop(3)
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_allclose(answer.outputs()[OUTPUT], tiny_reference(x)[OUTPUT], rtol=0, atol=1e-5)
    assert max(answer.header.route.visits[0].batch_size for answer in answers) > 1


def test_status_tells_models_and_plans(cloud: TierProcess, deployed: Deployed) -> None:
    command = [str(TERCET), "cloud", "status", "--json", "--port", str(cloud.facts()["grpc_port"])]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    assert told["models"] == {deployed.deployment.model: ["raw", "fp16", "int8", "edge-only", "cloud-only"]}
    assert told["max_frame_bytes"] == MAX_FRAME_BYTES


def test_the_front_ends_and_rays_daemons_listen_on_loopback(cloud: TierProcess) -> None:
    facts = cloud.facts()
    listening = {
        connection.laddr.port: connection.laddr.ip
        for process in cloud.tree()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening[facts["grpc_port"]] == listening[facts["http_port"]] == "127.0.0.1"
    open_to_all = [port for port, address in listening.items() if "127.0.0.1" not in address]
    # HAProxy's two pages, the fallback proxy's gRPC, and two gRPC servers in the replica: `cluster` says so.
    assert len(open_to_all) <= 5


@pytest.fixture(scope="module")
def slow(deployed: Deployed) -> Deployment:
    return slow_deployment(deployed.store)


@pytest.fixture(scope="module")
def narrow_cloud(
    deployed: Deployed, slow: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TierProcess]:
    """One frame a run, two requests under way, four more in the queue; serves the slow model as well."""
    folder = tmp_path_factory.mktemp("narrow")
    write_document(slow, folder / "slow.yaml")
    limits = ("--max-batch-size", "1", "--max-queued", "4", "--deployment", str(folder / "slow.yaml"))
    with tier_process([*deployed.arguments, "--port", "0", *limits], folder) as process:
        yield process


async def test_a_full_queue_refuses_at_once_and_serves_the_rest(
    narrow_cloud: TierProcess, deployed: Deployed, slow: Deployment
) -> None:
    header = pb.FrameHeader(model=slow.model, plan="cloud", boundary=0, node="edge-1")
    sealed = Frame.encode(header, {slow_model.INPUT: np.zeros((1, slow_model.WIDTH), np.float32)}, "raw").seal()
    async with client_of(narrow_cloud, deployed) as client:
        results = await asyncio.gather(*(client.infer(sealed) for _ in range(24)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    answered = [result for result in results if isinstance(result, Answer)]
    assert len(refused) + len(answered) == 24
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(answered) >= 6
    assert all(answer.outputs()[slow_model.OUTPUT][0, 0] == slow_model.ROUNDS for answer in answered)


async def test_frames_of_a_call_that_find_no_room_are_refused_each(
    narrow_cloud: TierProcess, deployed: Deployed
) -> None:
    async with client_of(narrow_cloud, deployed) as client:
        request = inference_pb2.InferManyRequest(frames=[client.frame(tiny_input())] * 9)
        response = await client.stub.InferMany(request, timeout=CALL_TIMEOUT_S)
    refusals = [Answer.open(sealed).refusal for sealed in response.answers]
    # Two under way and four that wait.
    assert refusals[:6] == [None] * 6
    assert all(isinstance(refusal, OverloadedError) and refusal.retry_after_s for refusal in refusals[6:])
    assert len(refusals) == 9


async def test_sigterm_finishes_requests_under_way_and_leaves_nothing(
    narrow_cloud: TierProcess, deployed: Deployed
) -> None:
    descendants = narrow_cloud.tree()
    async with client_of(narrow_cloud, deployed) as client:
        frame = client.frame(tiny_input(rows=SLOW_ROWS), plan="cloud-only", boundary=0)
        calls = [asyncio.ensure_future(client.infer(frame)) for _ in range(5)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        narrow_cloud.signal(signal.SIGTERM)
        answers = await asyncio.gather(*calls)
    assert all(answer.outputs()[OUTPUT].shape == (SLOW_ROWS, 5) for answer in answers)
    assert await asyncio.to_thread(narrow_cloud.wait) == 0
    assert alive(descendants, within_s=5) == []


def test_a_killed_cloud_leaves_nothing(deployed: Deployed, tmp_path: Path) -> None:
    with tier_process([*deployed.arguments, "--port", "0"], tmp_path) as cloud:
        descendants = cloud.tree()
        assert any("haproxy" in process.name() for process in descendants)
        cloud.signal(signal.SIGKILL)
        assert alive(descendants, within_s=15) == []


def test_ctrl_c_in_a_terminal_ends_it_cleanly_even_while_it_starts(deployed: Deployed, tmp_path: Path) -> None:
    with tier_process([*deployed.arguments, "--port", "0"], tmp_path, ready_within_s=None) as cloud:
        while "starting" not in cloud.stderr():
            assert cloud.process.poll() is None, cloud.stderr()
        while len(descendants := cloud.tree()) < 3:
            assert cloud.process.poll() is None, cloud.stderr()
        # A terminal sends SIGINT to the whole foreground process group.
        signal_group(cloud, signal.SIGINT)
        assert cloud.wait() == 0
        assert alive(descendants, within_s=5) == []


def signal_group(cloud: TierProcess, number: signal.Signals) -> None:
    os.killpg(os.getpgid(cloud.pid), number)


def test_a_busy_port_is_one_line_and_a_status(deployed: Deployed, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, line = fails(*deployed.arguments, "--port", port)
    assert status == CODES[PortBusyError].exit_status
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_a_ray_cluster_that_is_not_there_is_one_line_and_a_status(deployed: Deployed) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        status, line = fails(*deployed.arguments, "--ray-address", address)
    assert status == CODES[LinkDownError].exit_status
    assert f"no Ray cluster at {address}" in line


def test_a_provider_that_is_not_there_is_one_line_and_a_status(deployed: Deployed) -> None:
    status, line = fails(*deployed.arguments, "--port", "0", "--providers", "AbsentExecutionProvider")
    assert status == CODES[SpecError].exit_status
    assert "AbsentExecutionProvider" in line


def test_an_altered_segment_is_one_line_and_a_status(tmp_path: Path) -> None:
    altered = deploy(tmp_path)
    manifest = altered.store.manifest(altered.deployment.model)
    altered.store.segment_path(manifest.segments[2].sha256).write_bytes(b"other")
    status, line = fails(*altered.arguments, "--port", "0")
    assert status == CODES[IntegrityError].exit_status
    assert "slice or fetch again" in line


def test_status_without_a_cloud_is_one_line_and_a_status() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        status, line = fails("cloud", "status", "--port", str(reserved.getsockname()[1]))
    assert status == CODES[LinkDownError].exit_status
    assert "is `tercet cloud run` ready" in line


def fails(*arguments: str) -> tuple[int, str]:
    """Exit status and the only line on stderr of a command that must fail."""
    done = subprocess.run([str(TERCET), *arguments], capture_output=True, text=True, check=False, timeout=60)
    (line,) = done.stderr.splitlines()
    return done.returncode, line
