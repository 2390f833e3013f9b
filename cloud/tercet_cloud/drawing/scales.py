"""Where values lie on an axis, and which of them are worth a tick."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10


@dataclass(frozen=True)
class LinearScale:
    """`low` lies at pixel `start`, `high` at `end`; `end` may be smaller (upwards in SVG)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (value - self.low) / span * (self.end - self.start) if span else self.start

    def ticks(self, about: int = 5) -> list[float]:
        """Round values between the ends, `about` so many."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / max(about, 1)
        power = 10.0 ** floor(log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True)
class LogScale:
    """As LinearScale, by the logarithm; `low` and `high` are positive."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = log10(self.high) - log10(self.low)
        return (
            self.start + (log10(value) - log10(self.low)) / span * (self.end - self.start) if span else self.start
        )

    def ticks(self, about: int = 5) -> list[float]:
        """Powers of ten between the ends, with 2 and 5 times them where that leaves no more than 2 × `about`."""
        powers = range(floor(log10(self.low) - 1e-9), ceil(log10(self.high) + 1e-9) + 1)
        for factors in ((1, 2, 5), (1, 3)):
            found = [factor * 10.0**power for power in powers for factor in factors]
            found = [value for value in found if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]
            if len(found) <= 2 * about:
                return found
        return [value for value in (10.0**power for power in powers) if self.low <= value <= self.high]
