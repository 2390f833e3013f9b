"""The device agent: chooses a plan, runs the head segments, sends the boundary to an edge, waits for the answer.

When nobody answers in time, or the answer is that it can't be served now, the agent computes the rest itself if
it has the segments, and says so in the route.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf

from tercet.adaptive.plan_choice import Choice, Conditions, PlanChooser, forecast
from tercet.adaptive.prediction_watch import PredictionWatch
from tercet.adaptive.replica_choice import ReplicaChoice
from tercet.carried_plan import spec_of
from tercet.clock import Lap
from tercet.codecs import CodecContext
from tercet.codecs.codec import Array
from tercet.cut_model import CutModel
from tercet.errors import InvariantError, LinkDownError, NotFoundError, SpecError, UnavailableError
from tercet.identifiers import NodeId
from tercet.links.broker_url import BrokerUrl
from tercet.links.mqtt import Attend
from tercet.plans import Plan, PlanPrediction, canonical_plan_id
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet_device.durable_frames import DurableFrames
from tercet_device.edge_link import EdgeLink
from tercet_device.replanner import Replanner

log = logging.getLogger(__name__)


@dataclass
class FrameRun:
    """One frame on its way: its plan, the edge it may go to, this tier's visit and the clocks of its stages.

    `choice` if the plan was chosen here, and then `planned_ms`, when the answer would come if tiers were as fast as
    predicted; `reported` once routing knows how the edge did.
    """

    sequence: int
    plan: Plan
    choice: Choice | None
    link: EdgeLink | None
    deadline_s: float
    visit: pb.Visit
    reported: bool = False
    planned_ms: float = inf
    stage: Lap = field(default_factory=Lap)
    whole: Lap = field(default_factory=Lap)


class DeviceAgent:
    """One device's way into the network. Use as `async with agent.connected(broker): await agent.infer(…)`.

    Args:
        model: the deployed model; the plans' head segments are loaded.
        deadline_s: how long a frame may take unless its caller says otherwise.
        fallback: whether to compute the rest here when the tiers beyond fail.
        durable: keeps what `deliver` is given; without it there are only realtime frames.
    """

    def __init__(
        self,
        node: NodeId,
        fleet: str,
        model: CutModel,
        *,
        deadline_s: float,
        fallback: bool,
        durable: DurableFrames | None = None,
    ) -> None:
        self.node = node
        self.model = model
        self.durable = durable
        self._fleet = fleet
        self._deadline_s = deadline_s
        self._fallback = fallback
        self._links: tuple[EdgeLink, ...] = ()
        self._routing: ReplicaChoice[EdgeLink] | None = None
        self._compute = ThreadPoolExecutor(max_workers=1, thread_name_prefix="segments")
        self._sequence = 0
        # Plans without predictions are taken only by name.
        plans = [plan for plan in model.deployment.plans if plan.predicted]
        self._chooser = PlanChooser(plans) if plans else None
        self.watch = PredictionWatch()
        self.replanner = Replanner(node, model, self._chooser, deadline_s=deadline_s) if self._chooser else None
        self.renewals = 0

    @asynccontextmanager
    async def connected(
        self,
        *brokers: BrokerUrl,
        retained: Mapping[str, bytes] | None = None,
        beside: Sequence[Attend] = (),
    ) -> AsyncIterator[None]:
        """Keep a connection to each edge's broker while entered; does not wait for the first one.

        Args:
            retained: what to say of this node at every connection, see `stay_connected`.
            beside: what else to run on every connection, see there.
        """
        self._links = tuple(EdgeLink(self.node, self._fleet, broker, probing=self.adaptive) for broker in brokers)
        self._routing = routing = ReplicaChoice(self._links, probed=True)
        for link in self._links:
            link.on_answered_again = partial(routing.revived, link)
        async with AsyncExitStack() as stack:
            stack.callback(self._compute.shutdown, wait=True, cancel_futures=True)
            if self.durable is not None:
                await stack.enter_async_context(self.durable.sending(self._links))
            for link in self._links:
                await stack.enter_async_context(link.connected(retained, beside))
            if self.replanner is not None:
                replanning = asyncio.create_task(self.replanner.run(lambda: self._links, self._compute))
                stack.push_async_callback(_cancelled, replanning)
            yield

    def number_after(self, before: DeviceAgent) -> None:
        """Number frames on from another agent of this device, in whose place this one is."""
        self._sequence = before._sequence

    @property
    def compute(self) -> Executor:
        """Where segments are computed, one at a time."""
        return self._compute

    async def wait_online(self, timeout_s: float) -> None:
        """Return once answers can be received from some edge; LinkDownError after `timeout_s`."""
        waits = [asyncio.create_task(link.wait_online(timeout_s)) for link in self._links]
        try:
            for wait in asyncio.as_completed(waits):
                try:
                    await wait
                except LinkDownError:
                    continue
                return
            raise LinkDownError(f"no connection to {', '.join(map(str, self._links))} within {timeout_s:g} s")
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    @property
    def links(self) -> tuple[EdgeLink, ...]:
        return self._links

    @property
    def online(self) -> bool:
        return any(link.online for link in self._links)

    @property
    def unexpected_answers(self) -> int:
        """Answers that came too late or twice."""
        return sum(link.pending.unexpected for link in self._links)

    @property
    def adaptive(self) -> bool:
        """Whether frames without a plan of their own get one by prediction."""
        return self._chooser is not None

    def plans_in_use(self) -> dict[str, float]:
        """1 for the standing plan, 0 for the others; empty if plans are not chosen here."""
        if self._chooser is None:
            return {}
        return {plan_id: float(plan_id == self._chooser.standing) for plan_id in self._chooser.plan_ids}

    @property
    def switches(self) -> int:
        """How often the standing plan was left for another."""
        return self._chooser.switches if self._chooser else 0

    @property
    def replans(self) -> int:
        """Plan tables that were asked for and taken."""
        return self.replanner.taken if self.replanner else 0

    @property
    def replan_failures(self) -> int:
        """Times that another table was asked for and was none, or was given up."""
        return self.replanner.failures if self.replanner else 0

    async def infer(
        self, inputs: Mapping[str, Array], plan: Plan | None = None, *, deadline_s: float | None = None
    ) -> Answer:
        """Answer one frame.

        Args:
            inputs: the tensors of boundary 0.
            plan: None: the plan with the best predicted value under what links and tiers do now.
            deadline_s: how long the answer is of use; the agent's own if not given.
        Returns:
            the outputs, with a route that starts at this device.
        Raises:
            ContractError: the frame is wrong, another tier's refusal included; or plans cannot be chosen among
                because they have no predictions.
            UnavailableError: nobody could answer it, this device included.
        If cancelled, the frame may still be computed elsewhere; its answer is then counted as unexpected.
        """
        run = self._begin(plan, self._deadline_s if deadline_s is None else deadline_s)
        answer = await self._answered(inputs, run)
        refusal = answer.refusal
        if run.choice and refusal and self.replanner and self.replanner.refused(run.plan, refusal):
            run = self._begin(None, max(0.0, run.deadline_s - run.whole.peek() / 1e6))
            answer = await self._answered(inputs, run)
        if run.choice and run.planned_ms < inf:
            self.watch.add(run.visit.total_us / 1000, run.planned_ms)
            if self.watch.off:
                self._renew_predictions()
        return answer

    async def deliver(
        self, inputs: Mapping[str, Array], plan: Plan | None = None, *, wait_for_room: bool = False
    ) -> int:
        """Record one durable frame: it reaches the cloud's result store, exactly once in effect, whenever it can.

        Args:
            inputs: the tensors of boundary 0.
            plan: None: the plan with the best predicted value where time does not matter.
            wait_for_room: wait as long as the outbox is full.
        Returns:
            its sequence number, once it is on this device's disk. Results are found under this and the node.
        Raises:
            OverloadedError: the outbox is full; says when to try again.
            ContractError: the frame is wrong, this agent has no outbox, or there is no plan to choose.
        If cancelled, the frame may still be recorded.
        """
        if self.durable is None:
            raise SpecError("this agent has no outbox for durable frames: give it one, or use --delivery durable")
        chosen = plan or self._plan_for_later()
        header = pb.FrameHeader(
            model=self.model.manifest.ref, plan=chosen.id, plan_spec=self._carried(chosen), node=self.node
        )
        return await self.durable.record(
            header, inputs, chosen, self.model, self._compute, wait_for_room=wait_for_room
        )

    def _plan_for_later(self) -> Plan:
        if self._chooser is None:
            raise self._no_predictions()
        # By a link as it was last seen: the frame waits for it.
        now_s = time.monotonic()
        conditions = [link.tracker.conditions(now_s) for link in self._links] or [Conditions(None, None)]
        return self._chooser.best(conditions[0], None)

    def _no_predictions(self) -> SpecError:
        return SpecError(
            f"the plans of {self.model.manifest.ref} have no predictions: name the plan, or deploy what "
            "`tercet plan --table` wrote"
        )

    async def _answered(self, inputs: Mapping[str, Array], run: FrameRun) -> Answer:
        try:
            return await self._infer(inputs, run)
        finally:
            if run.link is not None and not run.reported and self._routing is not None:
                self._routing.abandoned(run.link)

    def _renew_predictions(self) -> None:
        """Frames take another time than predicted for a whole window: believe what tiers were measured to need."""
        if self._chooser is None or self.replanner is None:
            return
        ratio = self.watch.ratio
        paces: dict[Tier, float] = {}
        for link in self._links:
            paces |= link.tracker.paces
            link.tracker.forget_paces()
        self._chooser.renew(paces)
        self.watch.reset()
        self.renewals += 1
        self.replanner.renewed(paces, ratio)
        log.warning(
            "predictions renewed",
            extra={
                "actual_over_predicted": round(ratio, 2),
                "paces": {tier.value: round(pace, 2) for tier, pace in paces.items()},
            },
        )

    def _begin(self, plan: Plan | None, deadline_s: float) -> FrameRun:
        self._sequence += 1
        visit = pb.Visit(
            tier=pb.TIER_DEVICE, node=self.node, batch_size=1, emulated_slowdown=self.model.pace.claimed
        )
        if plan is None and self._chooser is None:
            raise self._no_predictions()
        link = self._choose_link()
        choice, planned_ms = None, inf
        if plan is None and self._chooser is not None:
            choice, planned_ms = self._choose_plan(self._chooser, link, deadline_s)
            plan = choice.plan
        if plan is None:
            raise InvariantError("a frame has neither a plan nor a choice of one")
        return FrameRun(self._sequence, plan, choice, link, deadline_s, visit, planned_ms=planned_ms)

    def _choose_link(self) -> EdgeLink | None:
        """The edge that is predicted to answer first, among those that are online if any is."""
        if self._routing is None:
            return None
        offline = frozenset(link for link in self._links if not link.online)
        try:
            return self._routing.choose(time.monotonic(), avoid=offline)
        except LinkDownError:
            return None

    def _choose_plan(self, chooser: PlanChooser, link: EdgeLink | None, deadline_s: float) -> tuple[Choice, float]:
        """The choice, and in how many ms the answer would come if tiers were as fast as predicted."""
        for each in self._links:
            each.wanted()
        online = link is not None and link.online
        conditions = link.tracker.conditions(time.monotonic(), online=online) if link else Conditions(None, None)
        choice = chooser.choose(conditions, deadline_s * 1000)
        if choice.why:
            log.info("plan switched", extra={"why": choice.why})
        predicted = chooser.prediction(choice.plan.id)
        if predicted is None:
            raise InvariantError("a plan was chosen that is not in the table")
        return choice, forecast(choice.plan, predicted, conditions.as_planned()).mean_ms

    async def _infer(self, inputs: Mapping[str, Array], run: FrameRun) -> Answer:
        plan = run.plan
        boundary = await self._run(inputs, 0, plan.device_until)
        run.visit.compute_us = run.stage.take()
        if plan.device_until == self.model.last_boundary:
            own = self._own_answer(boundary, run)
            if run.link is not None:
                run.link.learn([run.visit], own, self._predicted(plan.id))
            return own
        answer, refusal = None, None
        try:
            answer = await self._ask_beyond(boundary, run)
            refusal = answer.refusal
        except UnavailableError as error:
            refusal = error
        if isinstance(refusal, UnavailableError) and self._fallback:
            answer = await self._finish_here(boundary, run, refusal) or answer
        if answer is None:
            raise refusal or InvariantError("neither an answer nor a refusal")
        return self._with_visit(answer, run)

    def _with_visit(self, answer: Answer, run: FrameRun) -> Answer:
        """The answer with this device's visit in its route."""
        if not any(visit.tier == pb.TIER_DEVICE for visit in answer.header.route.visits):
            run.visit.total_us = run.whole.take()
            answer.header.route.visits.insert(0, run.visit)
        return answer

    async def _ask_beyond(self, boundary: Mapping[str, Array], run: FrameRun) -> Answer:
        """What the tiers beyond answer, refusals included; teaches routing and link what happened."""
        header = self._header(run, run.plan.device_until)
        run.visit.to_boundary = run.plan.device_until
        return await self._send(header, boundary, run.plan.codecs.device_edge, self.model.codecs, run)

    async def _send(
        self, header: pb.FrameHeader, tensors: Mapping[str, Array], spec: str, codecs: CodecContext, run: FrameRun
    ) -> Answer:
        """The answer to a frame of `tensors`, coded by `spec`."""
        link = run.link
        if link is None or self._routing is None:
            raise LinkDownError("every edge is left alone after failures, or none was named")
        with self.model.pace.slowed():
            outgoing = link.streams.frame(header, tensors, spec, codecs)
        run.visit.encode_us = run.stage.take()
        predicted = self._predicted(run.plan.id)
        beyond_ms = predicted.edge_ms + predicted.cloud_ms if predicted else 0.0
        until_s = time.monotonic() + run.deadline_s - run.whole.peek() / 1e6
        try:
            # Who can answer alone does not wait for a broker that is away.
            patient = link.online or not self._answers_alone(run)
            answer = await outgoing.deliver(partial(self._ask, link, until_s, beyond_ms, patient))
        except UnavailableError:
            run.visit.beyond_us = run.stage.take()
            self._note_silence(link, run)
            raise
        run.visit.beyond_us = run.stage.take()
        run.reported = True
        self._routing.answered(link, run.visit.beyond_us / 1000)
        # The edge may have chosen another way onward; the answer names it.
        predicted = self._predicted(answer.header.plan) or self._predicted(run.plan.id)
        link.learn([run.visit, *answer.header.route.visits], answer, predicted)
        return answer

    def _predicted(self, plan_id: str) -> PlanPrediction | None:
        return self._chooser.prediction(plan_id) if self._chooser else None

    async def _ask(self, link: EdgeLink, until_s: float, beyond_ms: float, patient: bool, frame: Frame) -> Answer:
        return await link.ask(frame, until_s, beyond_ms, patient=patient)

    def _note_silence(self, link: EdgeLink, run: FrameRun) -> None:
        """Teach routing of a frame that nobody answered; one that had no connection says nothing of the edge."""
        if self._routing is None:
            return
        run.reported = True
        if not link.online:
            self._routing.abandoned(link)
            return
        self._routing.failed(link, time.monotonic())
        link.doubted = self._routing.states(time.monotonic())[link] != "closed"

    def _answers_alone(self, run: FrameRun) -> bool:
        """Whether this device can compute the rest of a frame."""
        rest = range(run.plan.device_until, self.model.last_boundary)
        return self._fallback and self.model.held_segments.issuperset(rest)

    async def _finish_here(
        self, boundary: Mapping[str, Array], run: FrameRun, cause: UnavailableError
    ) -> Answer | None:
        """The degraded answer; None if this device does not hold the later segments."""
        try:
            outputs = await self._run(boundary, run.plan.device_until, self.model.last_boundary)
        except NotFoundError as error:
            log.debug("no local fallback", extra={"plan": run.plan.id, "reason": str(error)})
            return None
        run.visit.compute_us += run.stage.take()
        answer = self._own_answer(outputs, run)
        answer.header.route.degraded = True
        answer.header.route.reason = f"{type(cause).__name__}: {cause}"
        return answer

    def _own_answer(self, outputs: Mapping[str, Array], run: FrameRun) -> Answer:
        run.visit.to_boundary = self.model.last_boundary
        run.visit.total_us = run.whole.take()
        answer = Answer.of_outputs(self._header(run, run.visit.to_boundary), outputs)
        answer.header.route.visits.append(run.visit)
        return answer

    def _header(self, run: FrameRun, boundary: int) -> pb.FrameHeader:
        return pb.FrameHeader(
            model=self.model.manifest.ref,
            plan=run.plan.id,
            plan_spec=self._carried(run.plan),
            boundary=boundary,
            delivery=pb.DELIVERY_CLASS_REALTIME,
            node=self.node,
            sequence=run.sequence,
            deadline_ms=max(1, round(run.deadline_s * 1000)),
        )

    def _carried(self, plan: Plan) -> pb.PlanSpec | None:
        """What a frame says of its plan, if that is of a table that other tiers do not have."""
        if any(known.id == plan.id for known in self.model.deployment.plans):
            return None
        name = canonical_plan_id(plan.device_until, plan.edge_until, plan.codecs)
        return spec_of(plan) if plan.id == name else None

    async def _run(self, tensors: Mapping[str, Array], start: int, stop: int) -> Mapping[str, Array]:
        if start == stop:
            return tensors
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._compute, self.model.chain.run, tensors, start, stop)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
