"""The cloud's real ModelHost behind a bare gRPC server: what edge and device need, without starting Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc.aio

from tercet.limits import MAX_FRAME_BYTES
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import delivery_pb2, inference_pb2, inference_pb2_grpc
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl, sqlite_url
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.delivery_desk import DeliveryDesk
from tercet_cloud.serving.frame_call import answer_in_runs, refuse_call
from tercet_cloud.serving.model_host import ModelHost


class PlainCloud(inference_pb2_grpc.InferenceServicer):
    """Answers calls one by one; counts calls and frames, and takes `delay_s` more for each call.

    `describe_delay_s` for those that ask what is served.

    `results` has the results of durable frames.
    """

    def __init__(self, host: ModelHost, results: ResultStore) -> None:
        self._host, self.results = host, results
        self._desk = DeliveryDesk(host, results, self._answer)
        self.address = ""
        self.calls = self.frames = 0
        self.delay_s = self.describe_delay_s = 0.0

    async def Infer(  # noqa: N802
        self, request: inference_pb2.InferRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> inference_pb2.InferResponse:
        (answer,) = await self._answer([request.frame])
        return inference_pb2.InferResponse(answer=answer)

    async def InferMany(  # noqa: N802
        self, request: inference_pb2.InferManyRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> inference_pb2.InferManyResponse:
        frames = list(request.frames)
        if refusal := refuse_call(frames):
            return inference_pb2.InferManyResponse(answers=[refusal])
        return inference_pb2.InferManyResponse(answers=await answer_in_runs(frames, len(frames), self._answer))

    async def Deliver(  # noqa: N802
        self, request: delivery_pb2.DeliverRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> delivery_pb2.DeliverResponse:
        return await self._desk.deliver(request)

    async def Describe(  # noqa: N802
        self, request: inference_pb2.DescribeRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> inference_pb2.DescribeResponse:
        await asyncio.sleep(self.describe_delay_s)
        return self._host.describe()

    async def Replan(  # noqa: N802
        self, request: inference_pb2.ReplanRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> inference_pb2.ReplanResponse:
        return inference_pb2.ReplanResponse(answer=await asyncio.to_thread(self._host.replan, request))

    async def _answer(self, frames: Sequence[bytes]) -> list[bytes]:
        self.calls += 1
        self.frames += len(frames)
        await asyncio.sleep(self.delay_s)
        return await asyncio.to_thread(self._host.answer, frames)


@asynccontextmanager
async def plain_cloud(
    store: Store, *deployments: Deployment, port: int = 0, results_url: str = ""
) -> AsyncIterator[PlainCloud]:
    """Serve `deployments` on a loopback port while entered; results are kept beside the store, or at the URL."""
    message_bytes = MAX_FRAME_BYTES + 65536
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_send_message_length", message_bytes),
            ("grpc.so_reuseport", 0),
        ]
    )
    results = open_results(results_url or sqlite_url(store.root / "results.db"))
    cloud = PlainCloud(ModelHost(deployments, store, node="plain-cloud"), results)
    inference_pb2_grpc.add_InferenceServicer_to_server(cloud, server)  # type: ignore[no-untyped-call]
    cloud.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield cloud
    finally:
        await server.stop(grace=None)
        results.close()


def open_results(url: str) -> ResultStore:
    return ResultStore(Database(DatabaseUrl.parse(url, "url")))
