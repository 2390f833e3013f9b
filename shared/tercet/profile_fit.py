"""Calibrated segment times: what each segment adds to a session, such that sessions that were measured come out.

A segment alone takes more than it adds to a longer session. Every session has a fixed cost, and where it begins and
ends the runtime changes the memory layout of what crosses, which costs by the byte. So

    time of one session over segments [a, b) = session + crossing × MB taken and given + sum of segments a … b-1

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
_ALONE = 0.3
_HOLD = 0.005
# How far a session's cost may well be from its first estimate, as a part of a typical segment's time.
_SESSION_SHARE = 0.5
# Where all that crosses is smaller, its cost cannot be told from the session's and is left to that.
_TELLING_MB = 0.1


@dataclass(frozen=True)
class MeasuredSpan:
    """Segments [start, stop) took `ms` milliseconds.

    Attributes:
        crossing_mb: 10^6 bytes that its sessions take and give, each counted for itself.
    """

    start: int
    stop: int
    ms: float
    crossing_mb: float
    sessions: int = 1


@dataclass(frozen=True)
class Calibration:
    """What is fitted.

    Attributes:
        session_ms: of each session.
        crossing_ms_per_mb: per 10^6 bytes that a session takes or gives.
        segment_ms: (segments,) within any session.
    """

    session_ms: float
    crossing_ms_per_mb: float
    segment_ms: Float64Array

    def predict_ms(self, span: MeasuredSpan) -> float:
        """Time of a span; what it measured is not looked at."""
        ends_ms = self.session_ms * span.sessions + self.crossing_ms_per_mb * span.crossing_mb
        return ends_ms + float(self.segment_ms[span.start : span.stop].sum())


def calibrate(
    alone: Sequence[MeasuredSpan], own_share: Float64Array, longer: Sequence[MeasuredSpan] = ()
) -> Calibration:
    """Fit a calibration.

    Args:
        alone: each segment as a session of its own, in order; their times are positive.
        own_share: (segments,) the part of it, above 0 to 1, that a trace gives to its kernels, layouts left out.
        longer: single sessions over several segments; without any, the trace alone divides segment and session.
    Returns:
        nothing in it is negative.
    """
    count = len(alone)
    alone_ms = np.array([span.ms for span in alone])
    estimate = np.concatenate([_first_estimate(alone_ms * (1 - own_share), alone), alone_ms * own_share])
    if not longer:
        return Calibration(float(estimate[0]), float(estimate[1]), estimate[2:])
    spans = [*longer, *alone]
    weights = np.sqrt([1.0] * len(longer) + [_ALONE / count] * count)
    rows = np.zeros((len(spans), len(estimate)))
    for row, span in zip(rows, spans, strict=True):
        row[:2] = span.sessions, span.crossing_mb
        row[2 + span.start : 2 + span.stop] = 1
        row /= span.ms
    # What segments alone take beside their kernels says little of a session's cost, so that is held less.
    scale = estimate.copy()
    scale[0] = max(estimate[0], _SESSION_SHARE * float(np.median(alone_ms)))
    held = np.sqrt(_HOLD)
    solution = _solve_not_negative(
        np.vstack([rows * scale * weights[:, None], np.eye(len(estimate)) * held]),
        np.concatenate([weights, np.divide(estimate, scale, out=np.zeros_like(scale), where=scale > 0) * held]),
    )
    fitted = solution * scale
    return Calibration(float(fitted[0]), float(fitted[1]), fitted[2:])


def _first_estimate(rest_ms: Float64Array, alone: Sequence[MeasuredSpan]) -> Float64Array:
    """Session and crossing from what segments alone take beside their kernels."""
    ends = np.array([(1.0, span.crossing_mb) for span in alone])
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
