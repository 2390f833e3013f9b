"""From what was measured of a cut model to the times of its profile. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tercet.inference.kernel_trace import KernelTrace
from tercet.profile import KernelTime, SegmentTime, SliceTime, SpanTime
from tercet.profile_fit import Calibration, MeasuredSpan, calibrate

# A trace that shows nothing of a segment still leaves it so much of its time.
_LEAST_OWN_SHARE = 0.05
# Nanoseconds.
_DECIMALS = 6


@dataclass(frozen=True)
class MeasuredCut:
    """One cut model as measured.

    Attributes:
        alone: each segment as a session of its own.
        traces: their kernels.
        single: longer single sessions, and whether the calibration is to meet them.
        chained: stretches run segment by segment, the whole model first.
    """

    alone: Sequence[MeasuredSpan]
    traces: Sequence[KernelTrace]
    single: Sequence[tuple[MeasuredSpan, bool]]
    chained: Sequence[MeasuredSpan]


@dataclass(frozen=True)
class ProfileTimes:
    """See the fields of `Profile` of the same names."""

    segments: tuple[SegmentTime, ...]
    session_ms: float
    crossing_ms_per_mb: float
    whole_ms: float
    spans: tuple[SpanTime, ...]


def profile_times(measured: MeasuredCut) -> ProfileTimes:
    """Calibrate, spread each segment's time over its kernels, and set predictions beside measurements."""
    calibration = calibrate(
        measured.alone,
        np.array([max(trace.own_share, _LEAST_OWN_SHARE) for trace in measured.traces]),
        [span for span, fitted in measured.single if fitted],
    )
    spans = [*measured.single, *((span, False) for span in measured.chained)]
    return ProfileTimes(
        segments=tuple(
            SegmentTime(ms=_rounded(span.ms), kernels=_kernel_times(trace, float(own_ms)))
            for span, trace, own_ms in zip(measured.alone, measured.traces, calibration.segment_ms, strict=True)
        ),
        session_ms=_rounded(calibration.session_ms),
        crossing_ms_per_mb=_rounded(calibration.crossing_ms_per_mb),
        whole_ms=_rounded(measured.chained[0].ms),
        spans=tuple(_span_time(span, fitted, calibration) for span, fitted in spans),
    )


def median_error(spans: Sequence[SpanTime], slices: Sequence[SliceTime] = ()) -> float:
    """Median of |predicted - measured| / measured over all that the calibration did not see; 0 if nothing is."""
    unseen: list[SpanTime | SliceTime] = [*slices, *(span for span in spans if not span.fitted)]
    errors = [abs(item.predicted_ms - item.measured_ms) / max(item.measured_ms, 1e-9) for item in unseen]
    return _rounded(np.median(errors)) if errors else 0.0


def _span_time(span: MeasuredSpan, fitted: bool, calibration: Calibration) -> SpanTime:
    return SpanTime(
        start=span.start,
        stop=span.stop,
        sessions=span.sessions,
        fitted=fitted,
        measured_ms=_rounded(span.ms),
        predicted_ms=_rounded(calibration.predict_ms(span)),
    )


def _kernel_times(trace: KernelTrace, own_ms: float) -> tuple[KernelTime, ...]:
    """A segment's kernels, their times scaled to `own_ms` in sum."""
    total_ms = sum(kernel.ms for kernel in trace.own)
    if total_ms <= 0:
        return (KernelTime(node="", op_type="", ms=_rounded(own_ms)),)
    return tuple(
        KernelTime(
            node=kernel.node[:1024], op_type=kernel.op_type[:256], ms=_rounded(kernel.ms * own_ms / total_ms)
        )
        for kernel in trace.own
    )


def _rounded(number: float | np.floating) -> float:
    return round(float(number), _DECIMALS)
