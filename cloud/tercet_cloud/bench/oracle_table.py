"""What was measured under a condition held against what was predicted, and all conditions together: arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, geometric_mean, median

from tercet_cloud.bench.oracle_pool import CHOSEN

GOALS = {"regret_median": 1.05, "regret_worst": 1.15, "prediction_error_median": 0.10}


@dataclass(frozen=True)
class MeasuredPlan:
    """One plan under one condition. Latencies in ms: the median of `frames`, and the slower quartile.

    `contender`: it keeps all constraints and was measured as often as the chosen plan.
    """

    route: str
    roles: tuple[str, ...]
    predicted_ms: float
    measured_ms: float
    upper_quartile_ms: float
    frames: int
    contender: bool

    @property
    def error(self) -> float:
        """Of the prediction, relative to what was measured; positive if it took longer than predicted."""
        return (self.measured_ms - self.predicted_ms) / self.measured_ms


@dataclass(frozen=True)
class ConditionResult:
    """One network under one condition, with everything that was measured.

    `machine_slowness`: how many times slower than at its best the machine was just before or after.
    """

    network: str
    links: str
    plans: tuple[MeasuredPlan, ...]
    machine_slowness: float = 1.0

    @property
    def chosen(self) -> MeasuredPlan:
        return next(plan for plan in self.plans if CHOSEN in plan.roles)

    @property
    def best(self) -> MeasuredPlan:
        return min((plan for plan in self.plans if plan.contender), key=lambda plan: plan.measured_ms)

    @property
    def regret(self) -> float:
        """The chosen plan's latency over the best's: 1 if it is the best."""
        return self.chosen.measured_ms / self.best.measured_ms

    def speed_up(self, role: str) -> float | None:
        """Over the quickest plan whose role begins so; None if none was measured."""
        found = [plan.measured_ms for plan in self.plans if any(name.startswith(role) for name in plan.roles)]
        return min(found) / self.chosen.measured_ms if found else None


def summarise_oracle(results: Sequence[ConditionResult]) -> dict[str, object]:
    """Regret, prediction errors and speed-ups over all conditions, with what was aimed at."""
    regrets = [result.regret for result in results]
    chosen_errors = [abs(result.chosen.error) for result in results]
    all_errors = [abs(plan.error) for result in results for plan in result.plans if plan.contender]
    return {
        "conditions": len(results),
        "plans_measured": sum(len(result.plans) for result in results),
        "regret": {
            "median": round(median(regrets), 4),
            "worst": round(max(regrets), 4),
            "best_plan_chosen": round(fmean(result.chosen is result.best for result in results), 3),
        },
        "prediction_error": {
            "chosen_median": round(median(chosen_errors), 4),
            "contenders_median": round(median(all_errors), 4),
            "contenders_bias_median": round(
                median(plan.error for result in results for plan in result.plans if plan.contender), 4
            ),
        },
        "speed_up": {
            role: _spread([ratio for result in results if (ratio := result.speed_up(role)) is not None])
            for role in ("all-cloud", "all-device", "all-edge", "Neurosurgeon-style", "DADS-style")
        },
        "goals": GOALS,
        "met": {
            "regret_median": median(regrets) <= GOALS["regret_median"],
            "regret_worst": max(regrets) <= GOALS["regret_worst"],
            "prediction_error_median": median(all_errors) <= GOALS["prediction_error_median"],
        },
    }


def _spread(ratios: Sequence[float]) -> Mapping[str, float]:
    if not ratios:
        return {}
    return {
        "mean": round(fmean(ratios), 3),
        "geometric_mean": round(geometric_mean(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }


def condition_rows(results: Sequence[ConditionResult]) -> list[dict[str, object]]:
    """Everything, for machines."""
    return [
        {
            "network": result.network,
            "links": result.links,
            "regret": round(result.regret, 4),
            "machine_slowness": result.machine_slowness,
            "chosen": _row(result.chosen),
            "best": _row(result.best),
            "plans": [_row(plan) for plan in result.plans],
        }
        for result in results
    ]


def _row(plan: MeasuredPlan) -> dict[str, object]:
    return {**asdict(plan), "error": round(plan.error, 4)}
