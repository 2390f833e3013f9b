"""One stream of frames through a cascade with live audits, in three phases: clean, drifted, clean again.

Frames of a phase are drawn with replacement from a population whose answers and scores are known, so the true risk
of every threshold is known too, exactly: "restored" means that the risk of what exits at the live thresholds, of
the drifted population, is within the bound, not that a sample looked so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tercet.cascade.audit import ExitAudit
from tercet.cascade.exit_rule import ScoreKind
from tercet_cloud.bench.cascade_frames import JudgedFrames, Outcome, outcome_of

# Exits are back when they are this share of what they were before the drift.
BACK = 0.9


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of a stream.

    Attributes:
        fixed: what the certified thresholds alone would do to the phase's population.
        frames, exits, wrong: of the stream; wrong is another answer than the large model's.
        to_large: frames that the large model answered; audited: those of them that were asked for to check.
        tightened, relaxed: changes of thresholds, over all stages.
        first_tightened: frames until the first change; None without one.
        safe_after: frames until the true risk of the live thresholds was within the bound; None if it never was.
        unsafe_after: of the frames after that, the share that met thresholds whose true risk is over the bound.
        wrong_before_safe: wrong exits until then.
        back_after: frames until the live thresholds let at least `BACK` of the fixed ones' exits go; None if never.
    """

    fixed: Outcome
    frames: int
    exits: int
    wrong: int
    to_large: int
    audited: int
    tightened: int
    relaxed: int
    first_tightened: int | None
    safe_after: int | None
    unsafe_after: float
    wrong_before_safe: int
    back_after: int | None

    @property
    def risk(self) -> float:
        return self.wrong / max(1, self.exits)


@dataclass(frozen=True)
class _State:
    """What holds from a frame of the phase on, until the next change: the true risk of what exits, and the share of
    frames that the thresholds alone would let exit."""

    frame: int
    risk: float
    never_large: float


def run_stream(
    phases: Sequence[tuple[JudgedFrames, int]],
    score: ScoreKind,
    certified: Sequence[float],
    alpha: float,
    *,
    share: float,
    seed: int,
) -> list[PhaseRecord]:
    """Each phase is a population and how many frames are drawn from it; audits live through all of them.

    An audited frame goes to the large model at once. Its answer comes back before the next frame.
    """
    generator = np.random.default_rng(seed)
    audits = [
        ExitAudit(threshold, alpha, share=share, seed=seed * 16 + stage)
        for stage, threshold in enumerate(certified)
    ]
    return [_run_phase(*phase, score, certified, alpha, audits, generator) for phase in phases]


def _run_phase(
    population: JudgedFrames,
    frames: int,
    score: ScoreKind,
    certified: Sequence[float],
    alpha: float,
    audits: Sequence[ExitAudit],
    generator: np.random.Generator,
) -> PhaseRecord:
    drawn = generator.integers(0, len(population), frames)
    scores = population.scores[score][:, drawn].T.tolist()
    wrong = population.wrong("agreement")[:, drawn].T.tolist()
    fixed = outcome_of(population, score, "agreement", certified)
    before = [audit.report() for audit in audits]
    live = [audit.threshold for audit in audits]
    states = [_state(0, population, score, audits)]
    exits, bad, audited = np.zeros(frames, bool), np.zeros(frames, bool), 0
    for frame in range(frames):
        for stage, audit in enumerate(audits):
            leaves, checked = audit.decide(scores[frame][stage])
            if leaves:
                exits[frame], bad[frame] = True, wrong[frame][stage]
                break
            if checked:
                audited += 1
                audit.learn(scores[frame][stage], wrong[frame][stage])
                break
        now = [audit.threshold for audit in audits]
        if now != live:
            live = now
            states.append(_state(frame + 1, population, score, audits))
    after = [audit.report() for audit in audits]
    safe = next((state.frame for state in states if state.risk <= alpha), None)
    ends = [*(state.frame for state in states[1:]), frames]
    unsafe = sum(
        end - max(state.frame, safe or 0)
        for state, end in zip(states, ends, strict=True)
        if state.risk > alpha and safe is not None and end > safe
    )
    return PhaseRecord(
        fixed=fixed,
        frames=frames,
        exits=int(exits.sum()),
        wrong=int(bad.sum()),
        to_large=frames - int(exits.sum()),
        audited=audited,
        tightened=sum(new.tightened - old.tightened for new, old in zip(after, before, strict=True)),
        relaxed=sum(new.relaxed - old.relaxed for new, old in zip(after, before, strict=True)),
        first_tightened=states[1].frame if len(states) > 1 else None,
        safe_after=safe,
        unsafe_after=unsafe / max(1, frames - safe) if safe is not None else 1.0,
        wrong_before_safe=int(bad[: frames if safe is None else safe].sum()),
        back_after=next((state.frame for state in states if state.never_large >= BACK * fixed.never_large), None),
    )


def _state(frame: int, population: JudgedFrames, score: ScoreKind, audits: Sequence[ExitAudit]) -> _State:
    """Every frame counts as much as it is likely to exit: audited ones go past all stages to the large model."""
    wrong = population.wrong("agreement")
    reaches, exits, bad = np.ones(len(population)), 0.0, 0.0
    for audit, scores, mistakes in zip(audits, population.scores[score], wrong, strict=True):
        report = audit.report()
        reaches = reaches * np.where(scores >= report.certified_threshold, 1 - report.share, 1.0)
        leaves = scores >= report.threshold
        exits += float(reaches[leaves].sum())
        bad += float(reaches[leaves & mistakes].sum())
        reaches[leaves] = 0
    thresholds = [audit.threshold for audit in audits]
    never_large = outcome_of(population, score, "agreement", thresholds).never_large
    return _State(frame, bad / exits if exits else 0.0, never_large)
