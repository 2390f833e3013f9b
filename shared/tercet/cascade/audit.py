"""Watches the risk of exits while serving: asks the large model about a share of the confident frames anyway.

Calibration certified a threshold for frames like the calibration's. When frames change, the audited exits show it.
As soon as their verdicts speak against "risk ≤ α", the exits are closed: nothing leaves below the large model until
fresh verdicts prove that it may. Then the threshold returns, step by step, to the lowest score above which they
prove the risk kept, never below the certified one.

Both are sequential tests that may be looked at after every verdict (`RiskRise`, `RiskFall`). While one is under
way more frames are audited, so that it ends soon: all confident ones while exits are closed, half of them after a
few wrong verdicts and until the certified threshold is back; in quiet times only `share` of them. When fewer frames
are confident than usual, which needs no verdict to see, as many more of those are audited, so that verdicts come as
often as before.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from math import inf

from tercet.cascade.confident_share import ConfidentShare
from tercet.cascade.risk_change import RiskFall, RiskRise
from tercet.errors import SpecError

# With a risk of exactly α, exits are closed for nothing once in so many audited frames, on average, or more rarely.
FALSE_ALARM_EVERY = 10_000
# With a risk of exactly α above a threshold, that threshold returns for nothing once in so many.
FALSE_RETURN_EVERY = 2_000
# Evidence of a rise is about 1 while all is well; at so much of it more frames are audited.
_SUSPICION = 2.0
# Share of confident frames that are audited while a test is under way and exits are open, if `share` is not more.
_ALERT_SHARE = 0.5
# Thresholds that the return may stop at: the certified one, and quantiles of the scores seen before the alarm.
_STEPS = 16
_SCORES_KEPT = 256


@dataclass(frozen=True)
class AuditReport:
    """For operators: where the threshold stands, and what the last window of audited exits showed.

    `share` is the part of confident frames that is audited now.
    """

    threshold: float
    certified_threshold: float
    alpha: float
    audited: int
    wrong: int
    tightened: int
    relaxed: int
    share: float

    @property
    def observed_risk(self) -> float | None:
        """Share of wrong among the audited exits in the window; None before the first."""
        return self.wrong / self.audited if self.audited else None


class ExitAudit:
    """The live threshold of one stage. Not thread-safe.

    Args:
        certified: the threshold of the certificate; the live one is never below it.
        alpha: the certified risk.
        share: of the confident frames are audited in quiet times, 0…1; 0 switches the audit off.
        window: how many recent verdicts the report is about.
    """

    def __init__(self, certified: float, alpha: float, *, share: float = 0.05, window: int = 400, seed: int = 0):
        if not (0 < alpha < 1 and 0 <= share <= 1 and window >= 1) or certified != certified:
            raise SpecError("an audit needs a risk and a share in 0…1, a window of at least 1, and a threshold")
        self._certified = certified
        self._alpha = alpha
        self._share = share
        self._random = random.Random(seed)
        self._recent: deque[bool] = deque(maxlen=window)
        self._scores: deque[float] = deque(maxlen=_SCORES_KEPT)
        self._confident = ConfidentShare()
        self._rise = RiskRise(alpha)
        # By threshold, lowest first; empty while the certified one is in force.
        self._falls: list[tuple[float, RiskFall]] = []
        self._tightened = self._relaxed = 0
        self.threshold = certified

    def decide(self, score: float) -> tuple[bool, bool]:
        """(exits, audited): is the frame answered here; must the large model be asked, whatever is between.

        Frames that only the certified threshold would let go are audited too: they show when it may return.
        """
        confident = score >= self._certified
        self._confident.see(confident)
        if not confident:
            return False, False
        self._scores.append(score)
        audited = self._random.random() < self.share
        return score >= self.threshold and not audited, audited

    def learn(self, score: float, wrong: bool) -> None:
        """The verdict on an audited frame: was the stage's own answer another than the large model's?

        Verdicts on frames that were not audited would make frames of their scores count more than they should.
        """
        if not score >= self._certified:
            return
        if score >= self.threshold:
            self._recent.append(wrong)
            if self._rise.learn(wrong) >= FALSE_ALARM_EVERY:
                self._close()
                return
        for threshold, fall in self._falls:
            if score >= threshold:
                fall.learn(wrong)
        if self._falls:
            self._return()

    @property
    def share(self) -> float:
        """Of the confident frames, audited now."""
        if self._falls and self.threshold == inf:
            return 1.0
        quiet = min(1.0, self._share * self._confident.scarcity)
        under_way = bool(self._falls) or self._rise.evidence >= _SUSPICION
        return max(quiet, _ALERT_SHARE) if under_way and quiet else quiet

    def report(self) -> AuditReport:
        return AuditReport(
            self.threshold,
            self._certified,
            self._alpha,
            len(self._recent),
            sum(self._recent),
            self._tightened,
            self._relaxed,
            self.share,
        )

    def _close(self) -> None:
        ranked = sorted(self._scores)
        steps = {ranked[len(ranked) * step // _STEPS] for step in range(1, _STEPS)} if ranked else set()
        self._falls = [(threshold, RiskFall(self._alpha)) for threshold in sorted(steps | {self._certified})]
        self._move(inf)
        self._tightened += 1

    def _return(self) -> None:
        """To the lowest threshold that is proved safe, if any is that is below the present one."""
        for index, (threshold, fall) in enumerate(self._falls):
            if fall.evidence >= FALSE_RETURN_EVERY:
                self._falls = self._falls[:index]
                self._move(threshold)
                self._relaxed += 1
                return

    def _move(self, threshold: float) -> None:
        self.threshold = threshold
        self._rise = RiskRise(self._alpha)
        self._recent.clear()
