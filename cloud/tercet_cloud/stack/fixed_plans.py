"""Plans to be measured as they are: without predictions, so that no tier takes another in their place."""

from __future__ import annotations

from tercet.plans import Deployment


def fixed_plans(deployment: Deployment) -> Deployment:
    """The same plans; devices use the one they are told, and edges go on as it says."""
    plans = tuple(plan.model_copy(update={"predicted": None}) for plan in deployment.plans)
    return deployment.model_copy(update={"plans": plans})
