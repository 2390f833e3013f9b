"""Notices when predictions no longer hold: actual over predicted time, over a window of frames."""

from __future__ import annotations

from collections import deque
from statistics import median

from tercet.errors import SpecError


class PredictionWatch:
    """The median of actual / predicted over the last `window` frames.

    `off` once it is above `limit` (or below 1 / `limit`) over a full window; `reset` starts anew, once re-planned.
    """

    def __init__(self, *, limit: float = 2.0, window: int = 30) -> None:
        if limit <= 1 or window < 1:
            raise SpecError(f"re-planning needs a ratio above 1 and a window of frames, not {limit:g} and {window}")
        self._limit = limit
        self._ratios: deque[float] = deque(maxlen=window)

    def add(self, actual_ms: float, predicted_ms: float) -> None:
        """One frame; what cannot be compared is left out."""
        if predicted_ms > 0 and 0 <= actual_ms < float("inf"):
            self._ratios.append(actual_ms / predicted_ms)

    @property
    def ratio(self) -> float:
        """1 until anything was seen."""
        return median(self._ratios) if self._ratios else 1.0

    @property
    def off(self) -> bool:
        full = len(self._ratios) == self._ratios.maxlen
        return full and not 1 / self._limit <= self.ratio <= self._limit

    def reset(self) -> None:
        self._ratios.clear()
