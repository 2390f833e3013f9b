"""A calibration meets the sessions it is fitted to, and others of the same machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.profile_fit import Calibration, MeasuredSpan, calibrate


def machine(seed: int, segments: int) -> tuple[Calibration, list[float]]:
    """The truth about a made-up machine, and what crosses at each boundary, in MB."""
    generator = np.random.default_rng(seed)
    truth = Calibration(
        float(generator.uniform(0.01, 0.2)), float(generator.uniform(0, 0.2)), generator.uniform(0.05, 2, segments)
    )
    return truth, list(generator.uniform(0.01, 4, segments + 1))


def timed(truth: Calibration, crossing_mb: list[float], start: int, stop: int) -> MeasuredSpan:
    span = MeasuredSpan(start, stop, 0.0, crossing_mb[start] + crossing_mb[stop])
    return replace(span, ms=truth.predict_ms(span))


def shares(truth: Calibration, alone: list[MeasuredSpan], seed: int, wrong: float) -> np.ndarray:
    """What a trace says of the kernels' part, wrong by up to this factor."""
    right = truth.segment_ms / np.array([span.ms for span in alone])
    return np.clip(right * np.random.default_rng(seed).uniform(1 - wrong, 1 + wrong, len(right)), 0.05, 1)


@given(st.integers(0, 10_000), st.integers(2, 24))
def test_sessions_that_were_not_fitted_are_predicted_from_those_that_were(seed: int, segments: int) -> None:
    truth, crossing_mb = machine(seed, segments)
    alone = [timed(truth, crossing_mb, k, k + 1) for k in range(segments)]
    third = max(1, segments // 3)
    longer = [timed(truth, crossing_mb, *ends) for ends in ((0, segments), (0, third), (third, segments))]
    found = calibrate(alone, shares(truth, alone, seed, 0.1), longer)
    for start in range(segments):
        span = timed(truth, crossing_mb, start, segments)
        assert found.predict_ms(span) == pytest.approx(span.ms, rel=0.15)


@given(st.integers(0, 10_000), st.integers(1, 24))
def test_nothing_is_negative_whatever_was_measured(seed: int, segments: int) -> None:
    generator = np.random.default_rng(seed)
    alone = [
        MeasuredSpan(k, k + 1, float(generator.uniform(1e-6, 2)), float(generator.uniform(0, 5)))
        for k in range(segments)
    ]
    longer = [MeasuredSpan(0, segments, float(generator.uniform(1e-6, 2)), 0.5)] if seed % 2 else []
    found = calibrate(alone, generator.uniform(0.05, 1, segments), longer)
    assert found.session_ms >= 0
    assert found.crossing_ms_per_mb >= 0
    assert (found.segment_ms >= 0).all()


def test_without_longer_sessions_the_trace_divides_segment_and_session() -> None:
    truth, crossing_mb = machine(3, 8)
    alone = [timed(truth, crossing_mb, k, k + 1) for k in range(8)]
    found = calibrate(alone, shares(truth, alone, 3, 0.0))
    assert found.segment_ms == pytest.approx(truth.segment_ms)
    assert found.session_ms == pytest.approx(truth.session_ms)
    assert found.crossing_ms_per_mb == pytest.approx(truth.crossing_ms_per_mb)


def test_a_cost_by_the_byte_is_not_read_out_of_a_few_kilobytes() -> None:
    alone = [MeasuredSpan(k, k + 1, 1.0 + k, 0.0001 * (k + 1)) for k in range(4)]
    assert calibrate(alone, np.full(4, 0.5)).crossing_ms_per_mb == 0
