"""Has the risk changed? Sequential tests on verdicts, right or wrong, that may be read after every one. Pure.

Each is a bet: `evidence` is multiplied by how much likelier a verdict is under some other risk than under α, for
three other risks at once, and starts afresh as the verdicts come, because a change may begin at any of them. Where
the risk really is on the harmless side of α, evidence reaches a level N only once in N verdicts on average, or more
rarely, whatever the risk does on that side: no window, no normal approximation, no correction for looking often.

Source: Shin, Ramdas & Rinaldo 2022, "E-detectors", arXiv:2203.03532 (CUSUM and Shiryaev–Roberts e-detectors).
"""

from __future__ import annotations

# Other risks that are bet on: this far from α to 1, or this far from 0 to α.
_RISES = (0.03, 0.1, 0.4)
_FALLS = (0.1, 0.5, 0.75)


class RiskRise:
    """Evidence that the risk is over `alpha`; at least as low as `_RISES` allows, near 0, while it is not."""

    def __init__(self, alpha: float) -> None:
        self._bets = tuple(_bet(alpha, alpha + (1 - alpha) * share) for share in _RISES)
        self._sums = [0.0] * len(self._bets)

    @property
    def evidence(self) -> float:
        return sum(self._sums) / len(self._sums)

    def learn(self, wrong: bool) -> float:
        """The evidence after one more verdict. It starts afresh from 1 whenever it was lower (CUSUM)."""
        self._sums = [max(1.0, held) * bet[wrong] for held, bet in zip(self._sums, self._bets, strict=True)]
        return self.evidence


class RiskFall:
    """Evidence that the risk is under `alpha`."""

    def __init__(self, alpha: float) -> None:
        self._bets = tuple(_bet(alpha, alpha * share) for share in _FALLS)
        self._sums = [0.0] * len(self._bets)

    @property
    def evidence(self) -> float:
        return sum(self._sums) / len(self._sums)

    def learn(self, wrong: bool) -> float:
        """The evidence after one more verdict: summed over all verdicts it may start at (Shiryaev–Roberts)."""
        self._sums = [(1.0 + held) * bet[wrong] for held, bet in zip(self._sums, self._bets, strict=True)]
        return self.evidence


def _bet(alpha: float, other: float) -> tuple[float, float]:
    """How much likelier a right and a wrong verdict are under the other risk."""
    return (1 - other) / (1 - alpha), other / alpha
