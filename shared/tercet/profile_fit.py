"""Calibrated segment times: what each segment adds to a session, such that sessions that were measured come out.

A segment alone takes more than it adds to a longer session. Every session has a fixed cost, and where it begins and
ends the runtime changes the memory layout of what crosses, which costs by the byte. So

    time of one session over segments [a, b) = session + crossing × (MB at a + MB at b) + sum of segments a … b-1

and the unknowns are fitted to all that was measured, longer sessions before single segments. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

# Weights of squared relative errors against that of a longer session, which is 1: of all segments alone together,
# and of each unknown's departure from its first estimate.
_ALONE = 1.0
_HOLD = 0.01
# Where all that crosses is smaller, its cost cannot be told from the session's and is left to that.
_TELLING_MB = 0.1


@dataclass(frozen=True)
class MeasuredSpan:
    """Segments [start, stop) took `ms` milliseconds: in one session, or else in one a segment."""

    start: int
    stop: int
    ms: float
    one_session: bool = True


@dataclass(frozen=True)
class Calibration:
    """What is fitted.

    Attributes:
        session_ms: of each session.
        crossing_ms_per_mb: per 10^6 bytes that a session takes or gives.
        segment_ms: (segments,) within any session.
        crossing_mb: (segments + 1,) 10^6 bytes at each boundary.
    """

    session_ms: float
    crossing_ms_per_mb: float
    segment_ms: Float64Array
    crossing_mb: Float64Array

    def predict_ms(self, span: MeasuredSpan) -> float:
        """Time of a span; what it measured is not looked at."""
        sessions, crossing_mb = _ends(span, self.crossing_mb)
        own_ms = float(self.segment_ms[span.start : span.stop].sum())
        return self.session_ms * sessions + self.crossing_ms_per_mb * crossing_mb + own_ms


def calibrate(
    alone_ms: Float64Array, own_share: Float64Array, crossing_mb: Float64Array, longer: Sequence[MeasuredSpan] = ()
) -> Calibration:
    """Fit a calibration.

    Args:
        alone_ms: (segments,) measured time of each segment as a session of its own, positive.
        own_share: (segments,) the part of it, above 0 to 1, that a trace gives to its kernels, layouts left out.
        crossing_mb: (segments + 1,) 10^6 bytes at each boundary.
        longer: single sessions over several segments; without any, the trace alone divides segment and session.
    Returns:
        nothing in it is negative.
    """
    count = len(alone_ms)
    alone = [MeasuredSpan(index, index + 1, float(ms)) for index, ms in enumerate(alone_ms)]
    estimate = np.concatenate(
        [_first_estimate(alone_ms * (1 - own_share), alone, crossing_mb), alone_ms * own_share]
    )
    if not longer:
        return Calibration(float(estimate[0]), float(estimate[1]), estimate[2:], crossing_mb)
    spans = [*longer, *alone]
    weights = np.sqrt([1.0] * len(longer) + [_ALONE / count] * count)
    rows = np.zeros((len(spans), len(estimate)))
    for row, span in zip(rows, spans, strict=True):
        row[:2] = _ends(span, crossing_mb)
        row[2 + span.start : 2 + span.stop] = 1
        row /= span.ms
    # Unknown are the factors by which the estimates are to be corrected.
    factors = _solve_not_negative(
        np.vstack([rows * estimate * weights[:, None], np.eye(len(estimate)) * np.sqrt(_HOLD)]),
        np.concatenate([weights, np.full(len(estimate), np.sqrt(_HOLD))]),
    )
    fitted = factors * estimate
    return Calibration(float(fitted[0]), float(fitted[1]), fitted[2:], crossing_mb)


def _ends(span: MeasuredSpan, crossing_mb: Float64Array) -> tuple[int, float]:
    """How many sessions a span has, and how much they take and give in all."""
    if span.one_session:
        return 1, float(crossing_mb[span.start] + crossing_mb[span.stop])
    inner_mb = 2 * crossing_mb[span.start + 1 : span.stop].sum()
    return span.stop - span.start, float(crossing_mb[span.start] + inner_mb + crossing_mb[span.stop])


def _first_estimate(
    rest_ms: Float64Array, alone: Sequence[MeasuredSpan], crossing_mb: Float64Array
) -> Float64Array:
    """Session and crossing from what segments alone take beside their kernels."""
    ends = np.array([_ends(span, crossing_mb) for span in alone])
    if ends[:, 1].max() < _TELLING_MB:
        return np.array([max(0.0, float(np.median(rest_ms))), 0.0])
    # Long segments are noisier: by the square root of their time.
    weights = 1 / np.sqrt([span.ms for span in alone])
    return _solve_not_negative(ends * weights[:, None], rest_ms * weights)


def _solve_not_negative(matrix: Float64Array, wanted: Float64Array) -> Float64Array:
    """Least squares in which what would be negative is 0."""
    free = np.ones(matrix.shape[1], bool)
    solution = np.zeros(matrix.shape[1])
    while free.any():
        solution[:] = 0
        solution[free] = np.linalg.lstsq(matrix[:, free], wanted, rcond=None)[0]
        if not (solution < 0).any():
            break
        free &= solution >= 0
    return np.maximum(solution, 0)
