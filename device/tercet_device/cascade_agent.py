"""A device agent that runs a cascade: answers what its own small model is sure of, sends the rest to larger ones.

Where nobody beyond can answer, its own answer is given, marked degraded, with its score.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from tercet.cascade.live_exit import Verdict
from tercet.cascade.open_cascade import OpenCascade, OpenStage
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel
from tercet.errors import InvariantError, SpecError, UnavailableError
from tercet.identifiers import NodeId
from tercet.plans import Plan
from tercet.tiers import Tier
from tercet.wire.messages import Answer
from tercet_device.agent import DeviceAgent, FrameRun

log = logging.getLogger(__name__)


class CascadeAgent(DeviceAgent):
    """Like `DeviceAgent`, for frames of one cascade: inputs are those of the cascade's last stage.

    Args:
        model: of the cascade's first stage.
        fallback: whether this device's own answer is given when the tiers beyond fail.
    """

    def __init__(
        self,
        node: NodeId,
        fleet: str,
        model: CutModel,
        cascade: OpenCascade,
        *,
        deadline_s: float,
        fallback: bool,
    ) -> None:
        super().__init__(node, fleet, model, deadline_s=deadline_s, fallback=fallback)
        first = cascade.stages[0].spec
        if model.manifest.ref != first.model:
            raise SpecError(
                f"cascade {cascade.document.name} begins with {first.model}, but this device's deployment is of "
                f"{model.manifest.ref}: name the deployment of the first stage's model"
            )
        self.cascade = cascade
        self._first_plan = model.deployment.plan(first.plan)
        # Stages decide where a frame goes on, not predictions of plans.
        self._chooser = self.replanner = None

    async def infer(
        self, inputs: Mapping[str, Array], plan: Plan | None = None, *, deadline_s: float | None = None
    ) -> Answer:
        """As `DeviceAgent.infer`; a cascade's stages name their plans, so there is none to give."""
        if plan not in (None, self._first_plan):
            raise SpecError(
                f"cascade {self.cascade.document.name} names the plans of its stages: leave out the plan"
            )
        return await super().infer(inputs, self._first_plan, deadline_s=deadline_s)

    async def _infer(self, inputs: Mapping[str, Array], run: FrameRun) -> Answer:
        own = self.cascade.stage_on(Tier.DEVICE)
        if own is None:
            return self._with_visit(await self._escalate(inputs, run, None, None), run)
        loop = asyncio.get_running_loop()
        outputs = await loop.run_in_executor(self._compute, self._compute_stage, own, inputs)
        run.visit.compute_us = run.stage.take()
        run.visit.to_boundary = self.model.last_boundary
        if own.exit is None:
            raise InvariantError("a device's stage without an exit")
        verdict = own.exit.judge(outputs)
        if verdict.exits:
            return self._stage_answer(outputs, run, verdict)
        answer, refusal = None, None
        try:
            answer = await self._escalate(inputs, run, own, verdict)
            refusal = answer.refusal
        except UnavailableError as error:
            refusal = error
        label = None if answer is None else self.cascade.verdict_label(answer, audited=verdict.audited)
        own.exit.learn(verdict, label)
        if isinstance(refusal, UnavailableError) and self._fallback:
            return self._stage_answer(outputs, run, verdict, refusal)
        if answer is None:
            raise refusal or InvariantError("neither an answer nor a refusal")
        run.visit.verdict.CopyFrom(verdict.to_wire(exited=False))
        return self._with_visit(answer, run)

    def _answers_alone(self, run: FrameRun) -> bool:
        """Whether there is a stage here whose answer will do."""
        return self._fallback and self.cascade.stage_on(Tier.DEVICE) is not None

    def _compute_stage(self, own: OpenStage, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        with self.model.pace.slowed():
            adapted = own.adapt(inputs)
        return self.model.chain.run(adapted, 0, self.model.last_boundary)

    async def _escalate(
        self, inputs: Mapping[str, Array], run: FrameRun, own: OpenStage | None, verdict: Verdict | None
    ) -> Answer:
        following = self.cascade.after(own)
        header = self._header(run, 0)
        header.model, header.plan = following.spec.model, following.spec.plan
        header.cascade, header.stage = self.cascade.ref, following.index
        header.audit = verdict is not None and verdict.audited
        return await self._send(header, inputs, self.cascade.document.escalate, self.cascade.codecs, run)

    def _stage_answer(
        self,
        outputs: Mapping[str, Array],
        run: FrameRun,
        verdict: Verdict,
        cause: UnavailableError | None = None,
    ) -> Answer:
        """This stage's own answer. Degraded by `cause`, unless it was sure and the frame only to be audited."""
        run.visit.verdict.CopyFrom(verdict.to_wire(exited=True))
        answer = self._own_answer(outputs, run)
        if cause is not None and not verdict.sure:
            answer.header.route.degraded = True
            answer.header.route.reason = verdict.why_degraded(cause)
        return answer
