"""Answers frames with the models the cloud serves; a plain class, so that it tests without Ray.

Decides which frames share a run, refuses what it cannot serve, and says in every answer where the time
went. Arrival, queueing and batching over time belong to its shell, `deployment`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tercet import __version__
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel, find_model, open_deployments
from tercet.errors import DeadlineError, InvariantError, OverloadedError, TercetError
from tercet.identifiers import ModelRef
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.inference.shared_run import RunKey, run_key, run_together
from tercet.limits import MAX_FRAME_BYTES, MAX_TENSOR_BYTES
from tercet.models.store import Store
from tercet.plans import Deployment
from tercet.replan_request import ReplanQuestion, answer_of
from tercet.tiers import Tier
from tercet.v1 import delivery_pb2, inference_pb2
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import StreamReceiver
from tercet_cloud.results.result import Result
from tercet_cloud.serving.durable_frame import DurableFrame, find_card, open_durable, result_of

log = logging.getLogger(__name__)

REPLAN_RETRY_S = 2.0


@dataclass
class _Job:
    """One admitted frame on its way to an answer."""

    position: int
    arrived_s: float
    frame: Frame
    model: CutModel
    tensors: dict[str, Array]
    visit: pb.Visit

    @property
    def start(self) -> int:
        return self.frame.header.boundary


class ModelHost:
    """The cloud's part of every deployed model, loaded.

    Args:
        deployments: what to serve; one per model.
        store: holds the manifests and segments; every segment is hashed before it is loaded.
        node: this node's name in routes.
        threads: ONNX Runtime threads per run.
        providers: ONNX Runtime execution providers in order of preference.
    Raises:
        NotFoundError, IntegrityError, SpecError: something of a deployment is missing, altered or impossible.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        store: Store,
        *,
        node: str,
        threads: int = 1,
        providers: Sequence[str] = DEFAULT_PROVIDERS,
    ) -> None:
        self.node = node
        self._streams = StreamReceiver()
        self._store = store
        self._planning = threading.Lock()
        self._models = open_deployments(deployments, store, threads=threads, providers=providers)
        for model in self._models.values():
            model.load_for(Tier.CLOUD)
        self._cards = {ref: find_card(store, model.manifest.model) for ref, model in self._models.items()}

    def describe(self) -> inference_pb2.DescribeResponse:
        """What a peer can ask of this node."""
        return inference_pb2.DescribeResponse(
            version=__version__,
            max_frame_bytes=MAX_FRAME_BYTES,
            models=[
                inference_pb2.ServedModel(model=ref, plans=[plan.id for plan in model.deployment.plans])
                for ref, model in self._models.items()
            ],
        )

    def replan(self, request: inference_pb2.ReplanRequest) -> bytes:
        """A sealed answer with another plan table, or the refusal; blocks while planning. Thread-safe.

        One at a time: further requests meanwhile are refused, so that planning never keeps this tier from serving.
        """
        try:
            if not self._planning.acquire(blocking=False):
                raise OverloadedError("another plan table is being made", retry_after_s=REPLAN_RETRY_S)
            try:
                return answer_of(self._replanned(ReplanQuestion.from_wire(request))).seal()
            finally:
                self._planning.release()
        except TercetError as error:
            log.info("no plan table", extra={"reason": str(error)})
            return Answer.of_error(pb.FrameHeader(), error).seal()
        except Exception as error:
            log.exception("planning failed")
            return Answer.of_error(pb.FrameHeader(), error).seal()

    def _replanned(self, question: ReplanQuestion) -> Deployment:
        # Deferred, because the planner is half of what a replica would import before it can answer.
        from tercet_cloud.planner.replan import Holdings, replan

        model = find_model(self._models, question.model, Tier.CLOUD)
        began_s = time.perf_counter()
        holdings = Holdings(question.device_segments, question.edge_segments, model.held_segments)
        plans = replan(
            self._store.block_costs(model.manifest.ref),
            question.paces,
            question.conditions(),
            question.deadline_ms,
            holdings,
        )
        log.info(
            "plan table made",
            extra={
                "device": question.node,
                "actual_over_predicted": round(question.ratio, 2),
                "plans": len(plans),
                "took_ms": round((time.perf_counter() - began_s) * 1000),
            },
        )
        return Deployment(model=model.manifest.ref, plans=plans)

    def answer(self, sealed_frames: Sequence[bytes], arrived_s: Sequence[float] | None = None) -> list[bytes]:
        """Answer sealed frames, in their order; blocks while computing.

        Frames of one model at one boundary with equal shapes share a run where the manifest allows it. A bad
        frame costs only its own sender an error answer; nothing is raised for it.

        Args:
            arrived_s: when each frame arrived, by `time.perf_counter`; now if left out.
        Returns:
            one sealed answer per frame: the model's outputs, or an error, and the visit to this tier.
        """
        started_s = time.perf_counter()
        arrivals = arrived_s or [started_s] * len(sealed_frames)
        answers: dict[int, bytes] = {}
        jobs: list[_Job] = []
        for position, (sealed, arrival_s) in enumerate(zip(sealed_frames, arrivals, strict=True)):
            visit = pb.Visit(
                tier=Tier.CLOUD.wire,
                node=self.node,
                received_bytes=len(sealed),
                queue_us=_us(started_s - arrival_s),
            )
            header = pb.FrameHeader()
            try:
                frame = Frame.open(sealed)
                header = frame.header
                jobs.append(self._admit(position, arrival_s, frame, visit))
            except Exception as error:
                answers[position] = _refuse(header, visit, arrival_s, error)
        for group in _groups(jobs):
            answers.update(self._run(group))
        return [answers[position] for position in range(len(sealed_frames))]

    def open_durable(self, delivery: delivery_pb2.Delivery) -> DurableFrame:
        """A durable frame that `answer` may be asked. Raises ContractError and its kinds."""
        return open_durable(delivery, self._models)

    def result_of(self, frame: DurableFrame, sealed_answer: bytes, arrived_unix_us: int) -> Result:
        """What is kept of a durable frame and its answer. Raises the error that the answer carries, if it does."""
        return result_of(frame, sealed_answer, arrived_unix_us, self._cards[ModelRef(frame.model)])

    def _admit(self, position: int, arrived_s: float, frame: Frame, visit: pb.Visit) -> _Job:
        header = frame.header
        visit.from_boundary = visit.to_boundary = header.boundary
        if header.deadline_ms and visit.queue_us > header.deadline_ms * 1000:
            raise DeadlineError(
                f"the frame's {header.deadline_ms} ms passed in the cloud's queue ({visit.queue_us // 1000} ms)"
            )
        model = find_model(self._models, header.model, Tier.CLOUD)
        model.plan_for(header, Tier.CLOUD)
        began_s = time.perf_counter()
        tensors = self._streams.decode(frame, model.codecs)
        # Whoever sent the frame sees by this that it was decoded.
        visit.decode_us = max(1, _us(time.perf_counter() - began_s))
        return _Job(position, arrived_s, frame, model, tensors, visit)

    def _run(self, jobs: Sequence[_Job]) -> dict[int, bytes]:
        """Answers of jobs that share a run, by position. A shared run that fails is repeated one by one."""
        began_s = time.perf_counter()
        try:
            first = jobs[0]
            outputs = run_together(
                first.model.chain, [job.tensors for job in jobs], first.start, first.model.last_boundary
            )
        except Exception as error:
            if len(jobs) > 1:
                return {position: sealed for job in jobs for position, sealed in self._run([job]).items()}
            (job,) = jobs
            return {job.position: _refuse(job.frame.header, job.visit, job.arrived_s, error)}
        compute_us = _us(time.perf_counter() - began_s)
        return {
            job.position: _succeed(job, tensors, compute_us, len(jobs))
            for job, tensors in zip(jobs, outputs, strict=True)
        }


def check_segments(deployments: Sequence[Deployment], store: Store) -> list[ModelRef]:
    """Hash everything the cloud would load, without loading it; returns the models' references.

    Raises:
        NotFoundError, IntegrityError, SpecError: as `ModelHost` would, but before any process is started.
    """
    models = open_deployments(deployments, store)
    for model in models.values():
        for index in model.segments_for(Tier.CLOUD):
            store.segment_bytes(model.manifest.segments[index])
    return list(models)


def _groups(jobs: Iterable[_Job]) -> list[list[_Job]]:
    """Jobs that may share a run, in order of arrival, each group within the limit of one frame's tensors."""
    groups: list[list[_Job]] = []
    open_groups: dict[RunKey, tuple[list[_Job], int]] = {}
    for job in jobs:
        size_bytes = sum(array.nbytes for array in job.tensors.values())
        key = run_key(job.model.chain, job.tensors, job.start, job.model.last_boundary)
        if key is None:
            groups.append([job])
            continue
        group, held_bytes = open_groups.get(key, ([], 0))
        if not group or held_bytes + size_bytes > MAX_TENSOR_BYTES:
            group, held_bytes = [], 0
            groups.append(group)
        group.append(job)
        open_groups[key] = (group, held_bytes + size_bytes)
    return groups


def _succeed(job: _Job, outputs: Mapping[str, Array], compute_us: int, batch_size: int) -> bytes:
    began_s = time.perf_counter()
    try:
        answer = Answer.of_outputs(job.frame.header, outputs)
    except TercetError as error:
        return _refuse(job.frame.header, job.visit, job.arrived_s, error)
    visit = job.visit
    visit.to_boundary = job.model.last_boundary
    visit.compute_us, visit.batch_size = compute_us, batch_size
    visit.encode_us = _us(time.perf_counter() - began_s)
    return _seal(answer, visit, job.arrived_s)


def _refuse(header: pb.FrameHeader, visit: pb.Visit, arrived_s: float, error: Exception) -> bytes:
    if not isinstance(error, TercetError) or isinstance(error, InvariantError):
        log.error("frame failed", extra={"model": header.model, "sequence": header.sequence}, exc_info=error)
    return _seal(Answer.of_error(header, error), visit, arrived_s)


def _seal(answer: Answer, visit: pb.Visit, arrived_s: float) -> bytes:
    visit.total_us = _us(time.perf_counter() - arrived_s)
    answer.header.route.visits.append(visit)
    return answer.seal()


def _us(duration_s: float) -> int:
    return max(0, round(duration_s * 1_000_000))
