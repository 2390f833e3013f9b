"""The Ray Serve shell around `ModelHost`: gRPC methods, batching, health.

Import it only after `cluster.prepare_environment`: importing Ray reads the environment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.schema import LoggingConfig

from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.v1 import delivery_pb2, inference_pb2
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.compute_thread import ComputeThread
from tercet_cloud.serving.delivery_desk import DeliveryDesk
from tercet_cloud.serving.frame_call import answer_in_runs, refuse_call, refuse_frames
from tercet_cloud.serving.model_host import ModelHost
from tercet_cloud.serving.settings import CloudSettings

# A run that takes longer than this hangs: the replica reports itself sick and Serve replaces it.
STUCK_AFTER_S = 60.0

Arrival = tuple[bytes, float]


class ModelHostDeployment:
    """One replica: a Ray actor that holds the models and answers gRPC calls.

    Calls queue while a run is under way and leave together in the next batch: one run at a time per
    replica, so that ONNX Runtime's threads are not oversubscribed. A call of several frames is a batch already.
    Durable frames are computed in small runs, when no others wait.

    Args:
        results_url: where the results of durable frames are kept.
        max_frames: frames of such calls that may wait here; Serve counts calls only.
        max_durable: durable frames that may be under way here.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        store_root: Path,
        results_url: str,
        *,
        node: str,
        threads: int,
        providers: Sequence[str],
        max_batch_size: int,
        batch_wait_ms: float,
        max_frames: int,
        max_durable: int,
    ) -> None:
        self._host = ModelHost(deployments, Store(store_root), node=node, threads=threads, providers=providers)
        self._thread = ComputeThread("model-host")
        self._desk = DeliveryDesk(
            self._host,
            ResultStore(Database(DatabaseUrl.parse(results_url, "--results"))),
            self._run_patiently,
            run_frames=max(1, max_batch_size // 2),
            max_frames=max_durable,
            # Others must find room among the calls that Serve lets in.
            max_calls=max(1, max_batch_size // 2),
        )
        self._run_began_s: float | None = None
        self._max_batch_size = max_batch_size
        self._max_frames = max_frames
        self._held_frames = 0
        self._answer_batch.set_max_batch_size(max_batch_size)
        self._answer_batch.set_batch_wait_timeout_s(batch_wait_ms / 1000)

    async def Infer(self, request: inference_pb2.InferRequest) -> inference_pb2.InferResponse:  # noqa: N802
        """Answer one sealed frame."""
        answer = await self._answer_batch((request.frame, time.perf_counter()))
        return inference_pb2.InferResponse(answer=answer)

    async def InferMany(  # noqa: N802
        self, request: inference_pb2.InferManyRequest
    ) -> inference_pb2.InferManyResponse:
        """Answer several sealed frames; those that find no room here are refused, each with its own answer."""
        arrived_s = time.perf_counter()
        frames = list(request.frames)
        if refusal := refuse_call(frames):
            return inference_pb2.InferManyResponse(answers=[refusal])
        taken = min(len(frames), max(0, self._max_frames - self._held_frames))
        self._held_frames += taken
        try:
            answers = await answer_in_runs(
                frames[:taken], self._max_batch_size, lambda run: self._run_in_thread(run, [arrived_s] * len(run))
            )
        finally:
            self._held_frames -= taken
        return inference_pb2.InferManyResponse(answers=answers + refuse_frames(len(frames) - taken))

    async def Deliver(self, request: delivery_pb2.DeliverRequest) -> delivery_pb2.DeliverResponse:  # noqa: N802
        """Compute durable frames and store their results."""
        return await self._desk.deliver(request)

    async def Replan(self, request: inference_pb2.ReplanRequest) -> inference_pb2.ReplanResponse:  # noqa: N802
        """Make a plan table, beside the thread that computes."""
        return inference_pb2.ReplanResponse(answer=await asyncio.to_thread(self._host.replan, request))

    async def Describe(self, request: inference_pb2.DescribeRequest) -> inference_pb2.DescribeResponse:  # noqa: N802
        """Say what is served."""
        return self._host.describe()

    async def __call__(self, request: object) -> Mapping[str, Any]:
        """The HTTP front end's only page: what is served, as JSON."""
        described = self._host.describe()
        return {
            "version": described.version,
            "max_frame_bytes": described.max_frame_bytes,
            "models": [{"model": served.model, "plans": list(served.plans)} for served in described.models],
        }

    async def check_health(self) -> None:
        """Called by Serve; raises if a run hangs."""
        began_s = self._run_began_s
        if began_s is not None and time.perf_counter() - began_s > STUCK_AFTER_S:
            raise RuntimeError(f"a run has taken more than {STUCK_AFTER_S:.0f} s")

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
    async def _answer_batch(self, arrivals: list[Arrival]) -> list[bytes]:
        return await self._run_in_thread([sealed for sealed, _ in arrivals], [at_s for _, at_s in arrivals])

    async def _run_in_thread(self, frames: Sequence[bytes], arrived_s: Sequence[float]) -> list[bytes]:
        return await asyncio.wrap_future(self._thread.submit(partial(self._compute, frames, arrived_s)))

    async def _run_patiently(self, frames: Sequence[bytes]) -> list[bytes]:
        return await asyncio.wrap_future(
            self._thread.submit(lambda: self._compute(frames, [time.perf_counter()] * len(frames)), patient=True)
        )

    def _compute(self, frames: Sequence[bytes], arrived_s: Sequence[float]) -> list[bytes]:
        """In the only compute thread."""
        self._run_began_s = time.perf_counter()
        try:
            return self._host.answer(frames, arrived_s)
        finally:
            self._run_began_s = None


def application(settings: CloudSettings, deployments: Sequence[Deployment]) -> serve.Application:
    """The Serve application that `settings` ask for."""
    deployment = serve.deployment(
        ModelHostDeployment,
        name="ModelHost",
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.replica_cpus},
        # Two batches: one that runs, one that fills.
        max_ongoing_requests=2 * settings.max_batch_size,
        max_queued_requests=settings.max_queued,
        graceful_shutdown_timeout_s=settings.drain_s,
        graceful_shutdown_wait_loop_s=0.1,
        # Also how soon a replica that died is missed.
        health_check_period_s=1,
        # A new version's replica is there before an old one leaves, one at a time.
        max_surge_percent=1,
        # Would grow by a line per frame.
        logging_config=LoggingConfig(enable_access_log=False),
    )
    return deployment.bind(
        tuple(deployments),
        settings.store.resolve(),
        settings.results_url.text,
        node=settings.node,
        threads=settings.threads,
        providers=settings.providers,
        max_batch_size=settings.max_batch_size,
        batch_wait_ms=settings.batch_wait_ms,
        max_frames=settings.max_queued + 2 * settings.max_batch_size,
        max_durable=settings.max_durable,
    )
