"""Where a frame goes on from the edge: the plan it came by, or a better one that starts the same way.

Plans with the same device cut and the same coding of the first link differ only in what happens from here on, so
the edge, which knows its uplink best, may take any of them.
"""

from __future__ import annotations

import logging

from tercet.adaptive.plan_choice import Conditions, PlanChooser
from tercet.plans import Deployment, Plan
from tercet.tiers import Tier

log = logging.getLogger(__name__)


class OnwardChoice:
    """Of one deployment. Plans without predictions are taken as they come."""

    def __init__(self, deployment: Deployment) -> None:
        self._plans = {plan.id: plan for plan in deployment.plans}
        alike: dict[tuple[int, str], list[Plan]] = {}
        for plan in deployment.plans:
            if plan.predicted is not None:
                alike.setdefault((plan.device_until, plan.codecs.device_edge), []).append(plan)
        self._choosers = {
            plan.id: chooser
            for plans in alike.values()
            if len(plans) > 1
            for chooser in [PlanChooser(plans, Tier.EDGE)]
            for plan in plans
        }

    def choose(self, plan: Plan, conditions: Conditions, left_ms: float | None) -> Plan:
        """The plan to go on with, for a frame that came by `plan` and has `left_ms` until its deadline."""
        chooser = self._choosers.get(plan.id)
        # One of an earlier deployment may have the same name.
        if chooser is None or self._plans.get(plan.id) is not plan:
            return plan
        choice = chooser.choose(conditions, left_ms)
        if choice.why:
            log.info("onward plan switched", extra={"why": choice.why})
        return choice.plan
