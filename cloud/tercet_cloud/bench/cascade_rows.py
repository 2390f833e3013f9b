"""The rows of `tercet bench cascade`: what thresholds save, how often promises broke, what audits did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isinf

import numpy as np

from tercet.cascade.exit_rule import ScoreKind
from tercet_cloud.bench.cascade_frames import Outcome, Target
from tercet_cloud.bench.cascade_stream import PhaseRecord
from tercet_cloud.bench.cascade_trials import BreachRate, Promise, Trial, breach_rate

GOAL_NEVER_LARGE = 0.52
GOAL_RELATIVE_ACCURACY = 0.98
_TAIL = 0.05


@dataclass(frozen=True)
class Spread:
    """Of a figure over trials: 5 %, half and 95 % of them are at most this."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Ends:
    """Of a figure over streams: half of them are at most `median`, all at most `worst`; None: never."""

    median: float | None
    worst: float | None


@dataclass(frozen=True)
class Costs:
    """Of each model for one frame, the large one last: multiply-accumulates, and milliseconds on one thread."""

    macs: tuple[int, ...]
    ms: tuple[float, ...]


@dataclass(frozen=True)
class SavingRow:
    """A cascade with certified thresholds, over random calibrations, on frames held out from them.

    `stages`: exits before the large model; `opened`: in what share of the calibrations each of them was certified
    and used. `never_large`: share of frames that the large model never sees.
    `relative_accuracy`: right answers over the large model's. `risk`: wrong ones among the exits, by `target`.
    `macs`, `ms`: the mean frame's over the large model's, computing alone. `goal_met`: share of the calibrations
    that reach both goals.
    """

    alpha: float
    target: Target
    score: ScoreKind
    stages: int
    trials: int
    opened: tuple[float, ...]
    never_large: Spread
    relative_accuracy: Spread
    risk: Spread
    macs: float
    ms: float
    goal_met: float


@dataclass(frozen=True)
class BreachRow:
    """How often a promise was broken, with certified thresholds and with uncertified ones.

    `population`: what calibrations came from and what judged them. `never_large`: the median, certified, then
    uncertified.
    """

    population: str
    target: Target | None
    score: ScoreKind | None
    stages: int
    certified: BreachRate
    uncertified: BreachRate
    never_large: tuple[float, float] | None


@dataclass(frozen=True)
class DriftRow:
    """One kind of drift over streams: clean frames, drifted ones, clean ones again.

    Attributes:
        harmful: streams in which the certified thresholds break the bound on drifted frames; what follows up to
            `unsafe_after` is of them.
        risk_without: the exits' true risk during the drift at the certified thresholds.
        restored_after: drifted frames until the live thresholds' true risk was within the bound.
        wrong_before: wrong exits until then.
        unsafe_after: share of the drifted frames after that at which it was over the bound again.
        risk_with: of all exits during the drift, the part that was wrong.
        stream_risk, stream_risk_without: the same over all three phases, with the audit and without.
        to_large: share of frames that the large model answered, in each phase, the median stream.
        to_large_without: the same at the certified thresholds.
        back_after: clean frames after the drift until exits are nine tenths of what they were.
    """

    drift: str
    streams: int
    harmful: int
    risk_without: Ends
    restored_after: Ends
    wrong_before: Ends
    unsafe_after: Ends
    risk_with: Ends
    stream_risk: Ends
    stream_risk_without: Ends
    to_large: tuple[float, ...]
    to_large_without: tuple[float, ...]
    back_after: Ends


@dataclass(frozen=True)
class CleanRow:
    """All frames before any drift: closings of a stage's exits, and of those where the true risk was within the
    bound; what the audit costs."""

    frames: int
    closings: int
    false_closings: int
    audited: float
    to_large: float
    to_large_without: float


def saving_row(
    trials: Sequence[Trial],
    promise: Promise,
    target: Target,
    score: ScoreKind,
    costs: Costs,
) -> SavingRow:
    outcomes = [trial.certified for trial in trials]
    return SavingRow(
        promise.alpha,
        target,
        score,
        len(outcomes[0].exits),
        len(outcomes),
        tuple(np.mean([[exits > 0 for exits in outcome.exits] for outcome in outcomes], axis=0).tolist()),
        spread([outcome.never_large for outcome in outcomes]),
        spread([outcome.relative_accuracy for outcome in outcomes]),
        spread([outcome.risk for outcome in outcomes]),
        spread([outcome.mean_cost(costs.macs) / costs.macs[-1] for outcome in outcomes]).median,
        spread([outcome.mean_cost(costs.ms) / costs.ms[-1] for outcome in outcomes]).median,
        sum(map(reaches_goal, outcomes)) / len(outcomes),
    )


def reaches_goal(outcome: Outcome) -> bool:
    return outcome.never_large >= GOAL_NEVER_LARGE and outcome.relative_accuracy >= GOAL_RELATIVE_ACCURACY


def breach_row(
    population: str, target: Target, score: ScoreKind, stages: int, trials: Sequence[Trial], alpha: float
) -> BreachRow:
    certified, uncertified = ([getattr(trial, kind) for trial in trials] for kind in ("certified", "uncertified"))
    return BreachRow(
        population,
        target,
        score,
        stages,
        breach_rate(certified, alpha),
        breach_rate(uncertified, alpha),
        (
            spread([outcome.never_large for outcome in certified]).median,
            spread([outcome.never_large for outcome in uncertified]).median,
        ),
    )


def drift_row(drift: str, streams: Sequence[Sequence[PhaseRecord]], alpha: float) -> DriftRow:
    """Of streams of three phases each."""
    drifted = [phases[1] for phases in streams]
    harmful = [phase for phase in drifted if phase.fixed.risk > alpha]
    return DriftRow(
        drift,
        len(streams),
        len(harmful),
        ends([phase.fixed.risk for phase in harmful]),
        ends([phase.safe_after for phase in harmful]),
        ends([phase.wrong_before_safe for phase in harmful]),
        ends([phase.unsafe_after for phase in harmful if phase.safe_after is not None]),
        ends([phase.risk for phase in drifted]),
        ends([_stream_risk(phases) for phases in streams]),
        ends([_stream_risk_without(phases) for phases in streams]),
        tuple(_median([phases[index].to_large / phases[index].frames for phases in streams]) for index in range(3)),
        tuple(_median([1 - phases[index].fixed.never_large for phases in streams]) for index in range(3)),
        ends([phases[2].back_after for phases in streams]),
    )


def clean_row(streams: Sequence[Sequence[PhaseRecord]], alpha: float) -> CleanRow:
    """Of the first phases of all streams."""
    clean = [phases[0] for phases in streams]
    frames = sum(phase.frames for phase in clean)
    return CleanRow(
        frames,
        sum(phase.tightened for phase in clean),
        sum(phase.tightened for phase in clean if max(phase.fixed.stage_risks) <= alpha),
        sum(phase.audited for phase in clean) / frames,
        sum(phase.to_large for phase in clean) / frames,
        sum((1 - phase.fixed.never_large) * phase.frames for phase in clean) / frames,
    )


def spread(values: Sequence[float]) -> Spread:
    low, median, high = np.quantile(values, (_TAIL, 0.5, 1 - _TAIL))
    return Spread(float(low), float(median), float(high))


def ends(values: Sequence[float | None]) -> Ends:
    """None stands for never, and is larger than any number; without values both are None."""
    if not values:
        return Ends(None, None)
    ranked = sorted(inf if value is None else float(value) for value in values)
    median, worst = ranked[len(ranked) // 2], ranked[-1]
    return Ends(None if isinf(median) else median, None if isinf(worst) else worst)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _stream_risk(phases: Sequence[PhaseRecord]) -> float:
    return sum(phase.wrong for phase in phases) / max(1, sum(phase.exits for phase in phases))


def _stream_risk_without(phases: Sequence[PhaseRecord]) -> float:
    exits = [phase.frames * phase.fixed.never_large for phase in phases]
    wrong = [count * phase.fixed.risk for count, phase in zip(exits, phases, strict=True)]
    return sum(wrong) / max(1.0, sum(exits))
