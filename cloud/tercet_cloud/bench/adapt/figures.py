"""What the frames of one trace amount to: pure arithmetic over frame records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tercet.frame_record import FrameRecord

_AS_GOOD = 1.1


@dataclass(frozen=True)
class Phase:
    """A stretch of the trace with one link condition, in seconds from its start."""

    name: str
    from_s: float
    until_s: float

    def has(self, record: FrameRecord, began_s: float) -> bool:
        return self.from_s <= record.started_s - began_s < self.until_s


@dataclass(frozen=True)
class RunFigures:
    """One strategy over the whole trace. Frames without an answer count as late, and in no percentile."""

    strategy: str
    frames: int
    answered: int
    degraded: int
    in_deadline: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Run:
    """The records of one strategy; `began_s` is when its trace began, on the device's clock."""

    strategy: str
    began_s: float
    records: tuple[FrameRecord, ...]

    def within(self, phase: Phase) -> list[FrameRecord]:
        return [record for record in self.records if phase.has(record, self.began_s)]


def run_figures(run: Run, deadline_ms: float) -> RunFigures:
    answered = [record for record in run.records if record.error is None]
    latencies = [record.latency_ms for record in answered] or [float("nan")]
    return RunFigures(
        strategy=run.strategy,
        frames=len(run.records),
        answered=len(answered),
        degraded=sum(record.degraded for record in answered),
        in_deadline=sum(record.latency_ms <= deadline_ms for record in answered) / max(1, len(run.records)),
        p50_ms=float(np.percentile(latencies, 50)),
        p99_ms=float(np.percentile(latencies, 99)),
    )


def oracle(fixed: Sequence[Run], phases: Sequence[Phase], deadline_ms: float) -> tuple[RunFigures, dict[str, str]]:
    """Who knows the link: in every phase the frames of the fixed plan that did best there, and which that was."""
    chosen: dict[str, str] = {}
    records: list[FrameRecord] = []
    for phase in phases:
        best = min(fixed, key=lambda run: _mean_ms(run.within(phase)))
        chosen[phase.name] = best.strategy
        records.extend(best.within(phase))
    return run_figures(Run("oracle", 0.0, tuple(records)), deadline_ms), chosen


def reaction_s(run: Run, fixed: Sequence[Run], phase: Phase) -> float | None:
    """From the start of a phase until the first frame by a plan about as good as the best of `fixed` there.

    None if no frame took one. "About": its mean latency within `_AS_GOOD` of the best one's.
    """
    means = {one.strategy: _mean_ms(one.within(phase)) for one in fixed}
    good = {plan for plan, mean_ms in means.items() if mean_ms <= _AS_GOOD * min(means.values())}
    starts = [record.started_s for record in run.within(phase) if record.plan in good]
    return max(0.0, min(starts) - run.began_s - phase.from_s) if starts else None


def plans_used(run: Run, phases: Sequence[Phase]) -> Mapping[str, Mapping[str, int]]:
    """How many frames each plan took, by phase."""
    return {phase.name: dict(Counter(record.plan for record in run.within(phase))) for phase in phases}


def _mean_ms(records: Sequence[FrameRecord]) -> float:
    """Frames without an answer count as if they had taken ten seconds."""
    times = [record.latency_ms if record.error is None else 10_000.0 for record in records]
    return float(np.mean(times)) if times else float("inf")
