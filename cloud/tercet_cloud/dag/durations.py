"""How long nodes took of late, by what they call, and how many of such may therefore wait at a worker."""

from __future__ import annotations

_SMOOTHING = 0.2
# How long a node takes, below which so many of it may wait at a worker.
_AHEAD = ((0.001, 8), (0.05, 1))


class Durations:
    """Exponentially smoothed."""

    def __init__(self) -> None:
        self._expected_s: dict[str, float] = {}

    def learn(self, target: str, took_s: float) -> None:
        before_s = self._expected_s.get(target, took_s)
        self._expected_s[target] = before_s + _SMOOTHING * (took_s - before_s)

    def expected_s(self, target: str) -> float | None:
        """None: it never ran."""
        return self._expected_s.get(target)

    def is_short(self, target: str) -> bool:
        """Whether others may wait for it at a worker."""
        return self.ahead(target) > 0

    def ahead(self, target: str) -> int:
        """How many tries may be given to a worker that still computes another."""
        expected_s = self._expected_s.get(target)
        if expected_s is None:
            return 0
        return next((ahead for below_s, ahead in _AHEAD if expected_s < below_s), 0)
