"""Requests for another plan table on their way through the edge: completed, passed to the cloud, and checked.

The edge adds what it alone knows (its segments, its link to the cloud), and takes out of the table what it could
not do its part of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from tercet.adaptive.condition_tracker import ConditionTracker
from tercet.cut_model import CutModel, find_model
from tercet.errors import ContractError, LinkDownError, NotFoundError, OverloadedError, TercetError
from tercet.identifiers import ModelRef
from tercet.plans import Deployment
from tercet.replan_request import ReplanQuestion, answer_of, deployment_in
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer
from tercet_edge.uplink import Uplink

log = logging.getLogger(__name__)

# Requests under way; more are refused at once.
MAX_UNDER_WAY = 8
_RETRY_AFTER_S = 1.0


class ReplanRelay:
    """Answers requests for plan tables with the cloud's.

    Args:
        uplink: the cloud, or None for an edge that has none.
        tracker: what this edge knows of its link to the cloud.
    """

    def __init__(
        self,
        models: Mapping[ModelRef, CutModel],
        uplink: Uplink | None,
        tracker: ConditionTracker,
        *,
        timeout_s: float,
    ) -> None:
        self._models = models
        self._uplink = uplink
        self._tracker = tracker
        self._timeout_s = timeout_s
        self._under_way = 0

    async def answer(self, payload: bytes) -> Answer:
        """A table that this edge can do its part of, or a refusal that says why there is none."""
        if self._under_way >= MAX_UNDER_WAY:
            busy = OverloadedError(
                f"{MAX_UNDER_WAY} requests for plan tables wait here", retry_after_s=_RETRY_AFTER_S
            )
            return Answer.of_error(pb.FrameHeader(), busy)
        self._under_way += 1
        try:
            return await self._ask(ReplanQuestion.parse(payload))
        except TercetError as error:
            log.info("no plan table", extra={"reason": str(error)})
            return Answer.of_error(pb.FrameHeader(), error)
        except Exception as error:
            log.exception("request for a plan table failed")
            return Answer.of_error(pb.FrameHeader(), error)
        finally:
            self._under_way -= 1

    async def _ask(self, question: ReplanQuestion) -> Answer:
        model = find_model(self._models, question.model, Tier.EDGE)
        if self._uplink is None:
            raise LinkDownError("this edge has no cloud, so nobody makes plan tables")
        link = self._tracker.first_link
        known = link.estimate(time.monotonic()) if link.samples else None
        complete = question.of_edge(model.held_segments, known)
        answer = await self._uplink.replan(complete.to_wire(), self._timeout_s)
        return answer_of(await asyncio.to_thread(_runnable, deployment_in(answer, model.manifest.ref), model))


def _runnable(deployment: Deployment, model: CutModel) -> Deployment:
    plans = []
    for plan in deployment.plans:
        try:
            model.check_runs(plan, Tier.EDGE)
        except ContractError as error:
            log.warning("plan left out of a table", extra={"plan": plan.id, "reason": str(error)})
        else:
            plans.append(plan)
    if not plans:
        raise NotFoundError(f"this edge can run none of the {len(deployment.plans)} plans that were made")
    return Deployment(model=deployment.model, plans=tuple(plans))
