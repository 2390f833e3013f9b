"""What the frames of the demo's bandwidth step amount to: pure arithmetic over frame records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.adaptive.plan_choice import Conditions, PlanChooser
from tercet.frame_record import FrameRecord
from tercet.plans import Plan


@dataclass(frozen=True)
class Phase:
    """A stretch with one link condition, in seconds from the start of the trace."""

    name: str
    mbps: float
    from_s: float
    until_s: float


@dataclass(frozen=True)
class PhaseFigures:
    """One phase. `plan` is the one that most frames of its second half took; `in_use_after_s` is how long after the
    phase began the first frame took it, None if it was in use before. `p50_ms` is of answered frames."""

    phase: str
    plan: str
    in_use_after_s: float | None
    frames: int
    in_deadline: int
    degraded: int
    lost: int
    p50_ms: float


@dataclass(frozen=True)
class StepFigures:
    """The whole step. `expected_plans` are those that predictions say are best on the link as it is set."""

    setting: str
    deadline_ms: float
    expected_plans: list[str]
    phases: list[PhaseFigures]
    frames: int
    lost: int
    failures: list[str]


def step_figures(
    records: Sequence[FrameRecord],
    phases: Sequence[Phase],
    began_s: float,
    *,
    deadline_ms: float,
    setting: str,
    expected_plans: Sequence[str],
    expected_frames: int,
) -> StepFigures:
    """Fold the records of one device; `began_s` is when the trace began, on the device's clock."""
    found: list[PhaseFigures] = []
    for phase in phases:
        found.append(_phase(records, phase, began_s, deadline_ms, found[-1].plan if found else None))
    lost = sum(record.error is not None for record in records) + max(0, expected_frames - len(records))
    failures = [f"{lost} of {expected_frames} frames of the bandwidth step were not answered"] if lost else []
    return StepFigures(setting, deadline_ms, list(expected_plans), found, expected_frames, lost, failures)


def _phase(
    records: Sequence[FrameRecord], phase: Phase, began_s: float, deadline_ms: float, before: str | None
) -> PhaseFigures:
    within = [
        (record.started_s - began_s, record)
        for record in records
        if phase.from_s <= record.started_s - began_s < phase.until_s
    ]
    answered = [record for _, record in within if record.error is None]
    middle_s = (phase.from_s + phase.until_s) / 2
    late = Counter(record.plan for at_s, record in within if at_s >= middle_s)
    plan = late.most_common(1)[0][0] if late else ""
    first_s = min((at_s for at_s, record in within if record.plan == plan), default=None)
    in_use_after_s = None if first_s is None or before in (None, plan) else round(first_s - phase.from_s, 2)
    return PhaseFigures(
        phase=phase.name,
        plan=plan,
        in_use_after_s=in_use_after_s,
        frames=len(within),
        in_deadline=sum(record.latency_ms <= deadline_ms for record in answered),
        degraded=sum(record.degraded for record in answered),
        lost=len(within) - len(answered),
        p50_ms=round(float(np.median([record.latency_ms for record in answered])), 1) if answered else float("nan"),
    )


def best_plan(
    plans: Sequence[Plan], device_edge: LinkEstimate, edge_cloud: LinkEstimate, deadline_ms: float
) -> str:
    """What a device that knows the links would take."""
    return PlanChooser(plans).choose(Conditions(device_edge, edge_cloud), deadline_ms).plan.id
