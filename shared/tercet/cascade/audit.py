"""Watches the risk of exits while serving: escalates a share of the confident frames anyway and compares.

Calibration certified a threshold for frames like the calibration's. When frames change, the audited exits show it:
as soon as their errors are more than the certified risk explains, the threshold is tightened to where the recent
frames were right, or exits are closed altogether. Below a tightened threshold every frame is escalated, so its
errors are all seen, and the threshold is relaxed again, never below the certified one, as soon as they show that
the risk is kept.

Both tests are exact binomial tests of "risk = α" at level `SIGNIFICANCE`. They are repeated on every frame, so a
false alarm is likelier than that over a long time; it costs escalations, never accuracy.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p

from tercet.errors import SpecError

SIGNIFICANCE = 0.01
# Errors seen in fewer audited frames are no ground to act.
_FEWEST_FRAMES = 8
_CANDIDATES = 24
# Relaxing is looked into once in so many frames.
_RELAX_EVERY = 8


@dataclass(frozen=True)
class AuditReport:
    """For operators: where the threshold stands, and what the last window of audited exits showed."""

    threshold: float
    certified_threshold: float
    alpha: float
    audited: int
    wrong: int
    tightened: int
    relaxed: int

    @property
    def observed_risk(self) -> float | None:
        """Share of wrong among the audited exits in the window; None before the first."""
        return self.wrong / self.audited if self.audited else None


class ExitAudit:
    """The live threshold of one stage. Not thread-safe.

    Args:
        certified: the threshold of the certificate; the live one is never below it.
        alpha: the certified risk.
        share: of the confident frames are escalated anyway, 0…1.
        window: how many recent verdicts are remembered.
    """

    def __init__(self, certified: float, alpha: float, *, share: float = 0.05, window: int = 400, seed: int = 0):
        if not (0 < alpha < 1 and 0 <= share <= 1 and window >= _FEWEST_FRAMES) or certified != certified:
            raise SpecError(
                f"an audit needs a risk and a share in 0…1 and a window of at least {_FEWEST_FRAMES} frames"
            )
        self._certified = certified
        self._alpha = alpha
        self._share = share
        self._random = random.Random(seed)
        self._exits: deque[tuple[float, bool]] = deque(maxlen=window)
        self._escalated: deque[tuple[float, bool]] = deque(maxlen=window)
        self._tightened = self._relaxed = 0
        self._until_relax = 0
        self.threshold = certified

    def decide(self, score: float) -> tuple[bool, bool]:
        """(exits, audited): is the frame answered here; or would it be, but is escalated to check."""
        if not score >= self.threshold:
            return False, False
        if self._random.random() < self._share:
            return False, True
        return True, False

    def learn(self, score: float, wrong: bool) -> None:
        """The verdict on an escalated frame, audited or not: was the stage's own answer another than the final?"""
        if score >= self.threshold:
            self._exits.append((score, wrong))
            self._tighten()
        elif score >= self._certified:
            self._escalated.append((score, wrong))
            self._until_relax -= 1
            if self._until_relax <= 0:
                self._until_relax = _RELAX_EVERY
                self._relax()

    def report(self) -> AuditReport:
        return AuditReport(
            self.threshold,
            self._certified,
            self._alpha,
            len(self._exits),
            sum(wrong for _, wrong in self._exits),
            self._tightened,
            self._relaxed,
        )

    def _tighten(self) -> None:
        wrong = sum(bad for _, bad in self._exits)
        if len(self._exits) < _FEWEST_FRAMES or at_least(wrong, len(self._exits), self._alpha) >= SIGNIFICANCE:
            return
        self.threshold = self._kept_above()
        self._tightened += 1
        self._exits.clear()
        self._escalated.clear()

    def _kept_above(self) -> float:
        """The lowest score above which the recent exits kept half the risk; infinite if none is."""
        ranked = sorted(self._exits, reverse=True)
        kept, wrong = inf, 0
        for count, (score, bad) in enumerate(ranked, 1):
            wrong += bad
            if count >= _FEWEST_FRAMES and wrong <= self._alpha / 2 * count:
                kept = score
        return kept if kept > self.threshold else inf

    def _relax(self) -> None:
        """To the lowest threshold that the frames between it and the present one prove safe."""
        scores = sorted(score for score, _ in self._escalated)
        step = max(1, len(scores) // _CANDIDATES)
        for lowest in [self._certified, *scores[::step]]:
            judged = [bad for score, bad in self._escalated if score >= lowest]
            if judged and at_most(sum(judged), len(judged), self._alpha) < SIGNIFICANCE:
                self.threshold = lowest
                self._relaxed += 1
                self._escalated.clear()
                self._exits.clear()
                return


def at_least(successes: int, trials: int, rate: float) -> float:
    """P(X ≥ successes), X binomial."""
    return 1 - at_most(successes - 1, trials, rate)


def at_most(successes: int, trials: int, rate: float) -> float:
    """P(X ≤ successes), X binomial."""
    ways = lgamma(trials + 1)
    return min(
        1.0,
        sum(
            exp(
                ways
                - lgamma(count + 1)
                - lgamma(trials - count + 1)
                + count * log(rate)
                + (trials - count) * log1p(-rate)
            )
            for count in range(successes + 1)
        ),
    )
