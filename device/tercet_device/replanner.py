"""Gets another plan table when predictions do not hold: in the background, one request at a time, and not often.

Frames go on meanwhile, by renewed predictions of the plans there are; those under way keep their plan.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from tercet.adaptive.plan_choice import PlanChooser, rescaled
from tercet.cut_model import CutModel
from tercet.errors import ContractError, LinkDownError, NotFoundError, TercetError
from tercet.identifiers import NodeId
from tercet.plans import Deployment, Plan, canonical_plan_id, check_plan
from tercet.replan_request import ReplanQuestion, deployment_in
from tercet.tiers import Tier
from tercet_device.edge_link import EdgeLink

log = logging.getLogger(__name__)

EVERY_S = 30.0
TIMEOUT_S = 10.0
_MOST_DOUBLINGS = 4


class Replanner:
    """Of one agent. `run` is its task; `renewed` says that predictions were off.

    Attributes:
        every_s: least time between two requests; `timeout_s`: how long one may take.
        taken: tables that were asked for and are or were in use; `failures`: requests without one that is of use.
        keep: called with a table that was taken, and with None when the deployed one is in use again; may block.
    """

    def __init__(self, node: NodeId, model: CutModel, chooser: PlanChooser, *, deadline_s: float) -> None:
        self._node = node
        self._model = model
        self._chooser = chooser
        self._deadline_s = deadline_s
        self._wanted = asyncio.Event()
        # Times needed over those that the planner measured, as far as they were seen.
        self._paces: dict[Tier, float] = {}
        self._ratio = 1.0
        self.every_s = EVERY_S
        self.timeout_s = TIMEOUT_S
        self.taken = self.failures = 0
        self.keep: Callable[[Deployment | None], None] = lambda _: None
        # Tables in a row with the plans that were there: what is off is nothing that plans can mend.
        self._in_vain = 0

    def renewed(self, paces: Mapping[Tier, float], ratio: float) -> None:
        """Predictions were off by `ratio`, and tiers by `paces` against those predictions."""
        for tier, pace in paces.items():
            self._paces[tier] = self._paces.get(tier, 1.0) * pace
        self._ratio = ratio
        self._wanted.set()

    async def run(self, links: Callable[[], tuple[EdgeLink, ...]], compute: Executor) -> None:
        """Until cancelled. A request that was under way then is forgotten."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            failed = await self._try(links(), compute)
            if failed is not None:
                self._note_failure(failed)
            await asyncio.sleep(self.every_s * 2 ** min(self._in_vain, _MOST_DOUBLINGS))

    def refused(self, plan: Plan, why: TercetError) -> bool:
        """A tier beyond cannot do its part of a plan: if a table that was asked for has it, the deployed one again.

        Returns:
            whether another plan may do better.
        """
        deployed = self._model.deployment.plans
        if plan.id in {known.id for known in deployed} or not isinstance(why, ContractError):
            return False
        if plan.id in self._chooser.plan_ids:
            self._note_failure(why)
            self._chooser.adopt(deployed)
            self._chooser.renew(self._paces)
            self.keep(None)
        return True

    def restore(self, table: Deployment) -> None:
        """Go on with a table that was taken before a restart. ContractError if it is of no use any more.

        Blocks while segments are loaded.
        """
        plans = self._checked(table)
        self._model.chain.load(_needed(plans))
        self._chooser.adopt(plans)

    async def _try(self, links: tuple[EdgeLink, ...], compute: Executor) -> TercetError | None:
        """Ask and take; the error that there was instead."""
        online = [link for link in links if link.online]
        if not online:
            return LinkDownError("no edge is reached that could be asked for a plan table")
        link = max(online, key=lambda link: link.tracker.first_link.samples)
        asked = dict(self._paces)
        try:
            conditions = link.tracker.conditions(time.monotonic())
            question = ReplanQuestion(
                model=self._model.manifest.ref,
                node=self._node,
                paces={tier: min(max(pace, 1e-3), 1e3) for tier, pace in asked.items()},
                device_edge=conditions.device_edge,
                edge_cloud=conditions.edge_cloud,
                deadline_ms=self._deadline_s * 1000,
                ratio=min(max(self._ratio, 1e-3), 1e3),
                device_segments=held_from_first(self._model),
            )
            answer = await link.ask_table(question, self.timeout_s)
            plans = await self._usable(deployment_in(answer, self._model.manifest.ref), compute)
        except TercetError as error:
            return error
        # What was learnt while waiting.
        since = {tier: pace / asked.get(tier, 1.0) for tier, pace in self._paces.items()}
        renewed = [
            plan.model_copy(update={"predicted": rescaled(plan.predicted, since)})
            for plan in plans
            if plan.predicted
        ]
        self._take(renewed)
        await asyncio.to_thread(self.keep, Deployment(model=self._model.manifest.ref, plans=tuple(renewed)))
        return None

    def _take(self, plans: list[Plan]) -> None:
        before = set(self._chooser.plan_ids)
        self._chooser.adopt(plans)
        self.taken += 1
        after = set(self._chooser.plan_ids)
        self._in_vain = self._in_vain + 1 if after == before else 0
        log.warning(
            "plan table taken",
            extra={
                "actual_over_predicted": round(self._ratio, 2),
                "paces": {tier.value: round(pace, 2) for tier, pace in self._paces.items()},
                "new": sorted(after - before),
                "kept": sorted(after & before),
                "left": sorted(before - after),
            },
        )

    async def _usable(self, deployment: Deployment, compute: Executor) -> list[Plan]:
        """The plans of `_checked`, loaded."""
        plans = self._checked(deployment)
        await asyncio.get_running_loop().run_in_executor(compute, self._model.chain.load, _needed(plans))
        return plans

    def _checked(self, deployment: Deployment) -> list[Plan]:
        """The plans that this device can do its part of, by the names it knows them by.

        Raises:
            ContractError: a plan that cannot be; or none is left.
        """
        plans, reasons = [], []
        for plan in deployment.plans:
            check_plan(plan, self._model.manifest)
            try:
                self._model.check_runs(plan, Tier.DEVICE)
            except ContractError as error:
                reasons.append(str(error))
                continue
            plans.append(self._named(plan))
        if not plans:
            raise NotFoundError(f"this device can do its part of no plan of the table: {reasons[0]}")
        return list({plan.id: plan for plan in plans}.values())

    def _named(self, plan: Plan) -> Plan:
        for known in self._model.deployment.plans:
            if known.runs_as(plan):
                return plan.model_copy(update={"id": known.id})
        name = canonical_plan_id(plan.device_until, plan.edge_until, plan.codecs)
        return plan.model_copy(update={"id": name})

    def _note_failure(self, error: TercetError) -> None:
        self.failures += 1
        level = logging.WARNING if self.failures == 1 else logging.DEBUG
        log.log(level, "no other plan table", extra={"reason": str(error), "failures": self.failures})


def _needed(plans: Sequence[Plan]) -> range:
    """Segments that any of the plans gives the device."""
    return range(max(plan.device_until for plan in plans))


def held_from_first(model: CutModel) -> int:
    """How many segments, counted from the first, are in this device's store."""
    held = model.held_segments
    return next((index for index in range(model.last_boundary) if index not in held), model.last_boundary)
