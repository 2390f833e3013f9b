"""The edge's stage of a cascade: compute, answer if sure enough, else send the same coded input on.

Where the cloud cannot answer, the stage's own answer is given, marked degraded, with its score.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from tercet.cascade.live_exit import Verdict
from tercet.cascade.open_cascade import OpenCascade, OpenStage
from tercet.clock import Lap
from tercet.codecs.codec import Array
from tercet.errors import InvariantError, UnavailableError
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet_edge.edge_frame import EdgeFrame

Compute = Callable[[EdgeFrame, int], Awaitable[Mapping[str, Array]]]
Route = Callable[[EdgeFrame], Awaitable[Answer]]


class CascadeStep:
    """What the edge does with frames for its stage.

    Args:
        compute: decodes a frame and runs it up to a boundary.
        route: sends a frame the way its plan says.
        fallback: whether the stage's own answer is given when the cloud fails.
    """

    def __init__(self, compute: Compute, route: Route, *, fallback: bool) -> None:
        self._compute = compute
        self._route = route
        self._fallback = fallback

    async def serve(
        self, cascade: OpenCascade, stage: OpenStage, frame: Frame, visit: pb.Visit, arrived: Lap
    ) -> Answer:
        """The answer to a frame for `stage`. Raises what computing and routing raise."""
        model, plan = stage.opened()
        visit.emulated_slowdown = model.pace.claimed
        at = EdgeFrame(frame, model, plan, visit, arrived, stage)
        last = cascade.stages[-1]
        if frame.header.audit and stage is not last:
            # It checks an earlier stage by the large model: our answer is not asked for.
            return await self._route(_for_stage(at, last))
        outputs = await self._compute(at, model.last_boundary)
        if stage.exit is None:
            return Answer.of_outputs(frame.header, outputs)
        verdict = stage.exit.judge(outputs)
        visit.verdict.CopyFrom(verdict.to_wire(exited=verdict.exits))
        if verdict.exits:
            return Answer.of_outputs(frame.header, outputs)
        answer, refusal = None, None
        try:
            onward = _for_stage(at, cascade.after(stage))
            onward.fallback = False
            answer = await self._route(onward)
            refusal = answer.refusal
        except UnavailableError as error:
            refusal = error
        label = None if answer is None else cascade.verdict_label(answer, audited=verdict.audited)
        stage.exit.learn(verdict, label)
        if isinstance(refusal, UnavailableError) and self._fallback:
            return _own_answer(at, outputs, verdict, refusal)
        if answer is None:
            raise refusal or InvariantError("neither an answer nor a refusal")
        return answer


def _for_stage(at: EdgeFrame, following: OpenStage) -> EdgeFrame:
    """The same coded input, headed for a later stage."""
    header = pb.FrameHeader()
    header.CopyFrom(at.frame.header)
    header.model, header.plan, header.stage = following.spec.model, following.spec.plan, following.index
    model, plan = following.opened()
    return EdgeFrame(Frame(header, at.frame.payloads), model, plan, at.visit, at.arrived)


def _own_answer(at: EdgeFrame, outputs: Mapping[str, Array], verdict: Verdict, cause: UnavailableError) -> Answer:
    """Degraded by `cause`, unless it was sure and the frame only to be audited."""
    at.visit.verdict.exited = True
    at.visit.to_boundary = at.model.last_boundary
    answer = Answer.of_outputs(at.frame.header, outputs)
    if not verdict.sure:
        answer.header.route.degraded = True
        answer.header.route.reason = verdict.why_degraded(cause)
    return answer
