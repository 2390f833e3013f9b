"""A fleet's plan for machines: fleet-plan.json."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from tercet_cloud.planner.fleet.cohort_plans import FleetPlan, Part
from tercet_cloud.planner.fleet.deployments import plan_id
from tercet_cloud.planner.fleet.edge_loads import owner_loads
from tercet_cloud.planner.fleet.shadow_prices import Purchase
from tercet_cloud.planner.report.circumstances import objective_text
from tercet_cloud.planner.report.route_text import route_text

FORMAT = 1


def fleet_json(plan: FleetPlan) -> str:
    """Indented JSON that ends in a line break; keys carry units."""
    return json.dumps(fleet_dict(plan), indent=2, ensure_ascii=False) + "\n"


def fleet_dict(plan: FleetPlan) -> dict[str, Any]:
    """Plain data. Values, bounds and gains are sums over all frames of a second, in the objective's unit."""
    setting, choice = plan.setting, plan.choice
    return {
        "format": FORMAT,
        "fleet": setting.fleet.name,
        "note": setting.fleet.note,
        "objective": objective_text(setting.objective),
        "devices": setting.fleet.devices,
        "frames_per_second": setting.fleet.frames_per_second,
        "utilisation": setting.fleet.utilisation,
        "value_per_second": choice.value,
        "bound_per_second": choice.relaxation.value,
        "gap": choice.gap,
        "proven": choice.proven,
        "accuracies_measured": plan.measured,
        "accuracy_stopped": plan.stopped,
        "plans_chosen_from": plan.pooled,
        "planning_ms": plan.planning_ms,
        "cohorts": [
            {
                "name": cohort.spec.name,
                "model": cohort.model,
                "devices": cohort.spec.devices,
                "frames_per_second_per_device": cohort.spec.frames_per_second,
                "one_more_device_per_second": float(price)
                / (1 if setting.fleet.divide_cohorts else cohort.spec.devices),
                "parts": [_part(plan, part) for part in plan.parts if part.cohort == index],
            }
            for index, (cohort, price) in enumerate(
                zip(setting.cohorts, choice.settled.relaxation.unit_price, strict=True)
            )
        ],
        "shared": [
            {
                "name": owner.name,
                "devices": owner.devices,
                "frames_per_second": owner.frames_per_second,
                "resources": [
                    {
                        "kind": load.resource.kind,
                        "unit": load.resource.unit,
                        "stated": load.resource.stated,
                        "usable": load.resource.usable,
                        "used": load.used,
                        "expected_wait_ms": load.wait_ms,
                    }
                    for load in owner.loads
                ],
            }
            for owner in owner_loads(plan)
        ],
        "buy_next": [_purchase(purchase) for purchase in plan.purchases],
    }


def _part(plan: FleetPlan, part: Part) -> dict[str, Any]:
    graph = plan.measurements[part.cohort].graph
    return {
        "plan": plan_id(plan, part),
        "devices": part.devices,
        "edge": plan.setting.fleet.edges[part.edge].name,
        "route": route_text(part.candidate, graph),
        "value_per_frame": part.value,
        "money_per_frame": part.money,
        "prediction": {"latency_ms": part.prediction.latency_ms, **asdict(part.prediction)},
        "accuracy": asdict(part.accuracy) if part.accuracy else None,
    }


def _purchase(purchase: Purchase) -> dict[str, Any]:
    return {
        "owner": purchase.resource.owner,
        "kind": purchase.resource.kind,
        "unit": purchase.resource.unit,
        "stated": purchase.resource.stated,
        "step": purchase.step.amount,
        "step_price": purchase.step.price,
        "price_at_margin_per_second": purchase.price_at_margin,
        "predicted_gain_per_second": purchase.predicted_gain,
        "gain_per_second": purchase.gain,
    }
