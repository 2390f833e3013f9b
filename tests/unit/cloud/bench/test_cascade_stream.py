"""Streams that drift, on frames written by hand."""

from __future__ import annotations

import numpy as np

from tercet_cloud.bench.cascade_frames import JudgedFrames
from tercet_cloud.bench.cascade_rows import Ends, clean_row, drift_row, ends
from tercet_cloud.bench.cascade_stream import run_stream
from tercet_cloud.bench.picture_drifts import DRIFTS

ALPHA = 0.05


def population(risk: float, count: int = 400) -> JudgedFrames:
    """One stage with scores 0…1; the part `risk` of its answers is wrong, spread over all scores."""
    zeros = np.zeros(count, np.int64)
    wrong = (np.arange(count) % 100 < round(100 * risk)).astype(np.int64)
    random = np.random.default_rng(0)
    return JudgedFrames(zeros, np.stack([wrong, zeros]), {"margin": random.uniform(size=(1, count))})


def stream(risks: tuple[float, float, float], frames: int = 2500, share: float = 0.05, seed: int = 1) -> list:
    phases = [(population(risk), frames) for risk in risks]
    return run_stream(phases, "margin", [0.2], ALPHA, share=share, seed=seed)


def test_a_drift_is_found_the_bound_restored_and_exits_return() -> None:
    before, during, after = stream((0.01, 0.5, 0.01))
    assert (before.tightened, before.safe_after, before.unsafe_after) == (0, 0, 0)
    assert during.fixed.risk > 0.4
    assert during.first_tightened == during.safe_after
    assert during.safe_after is not None
    assert 0 < during.wrong_before_safe < during.safe_after < 1000
    assert during.exits + during.to_large == during.frames == 2500
    assert during.to_large > 2000
    assert after.back_after is not None
    assert after.relaxed >= 1


def test_what_the_first_stage_has_closed_is_no_risk_of_the_next_ones() -> None:
    # Each stage is right where the other is wrong; the second is sure of everything.
    zeros, wrong = np.zeros(100, np.int64), (np.arange(100) < 60).astype(np.int64)
    scores = np.stack([np.full(100, 0.9), np.full(100, 0.9)])
    frames = JudgedFrames(zeros, np.stack([wrong, 1 - wrong, zeros]), {"margin": scores})
    (phase,) = run_stream([(frames, 800)], "margin", [0.5, 0.5], ALPHA, share=0.05, seed=1)
    assert phase.fixed.stage_risks == (0.6, 0)
    assert phase.safe_after is not None
    # All that might reach the second stage is asked of the large model.
    assert phase.exits < phase.safe_after
    assert phase.unsafe_after == 0


def test_without_audits_a_drift_is_never_found() -> None:
    _, during, _ = stream((0.01, 0.5, 0.01), share=0)
    assert (during.safe_after, during.first_tightened, during.audited) == (None, None, 0)
    assert during.unsafe_after == 1
    assert during.wrong_before_safe == during.wrong


def test_a_drift_that_keeps_the_bound_is_harmless_and_left_alone() -> None:
    streams = [stream((0.01, 0.03, 0.01), seed=seed) for seed in (1, 2)]
    row = drift_row("mild", streams, ALPHA)
    assert (row.harmful, row.restored_after) == (0, Ends(None, None))
    clean = clean_row(streams, ALPHA)
    assert (clean.frames, clean.closings) == (5000, 0)
    assert 0.02 < clean.audited < 0.06
    assert clean.to_large > clean.to_large_without


def test_rows_say_the_median_and_the_worst_and_never_is_worst() -> None:
    assert ends([3, 1, 2]) == Ends(2, 3)
    assert ends([3, None, 2]) == Ends(3, None)
    assert ends([None, None, 2]) == Ends(None, None)
    row = drift_row("noise", [stream((0.01, 0.5, 0.01), share=share) for share in (0.05, 0)], ALPHA)
    assert row.harmful == 2
    assert row.restored_after.worst is None
    assert row.stream_risk.worst is not None
    assert row.stream_risk_without.median is not None


def test_drifts_keep_shape_and_range_and_change_every_picture() -> None:
    pictures = np.random.default_rng(0).uniform(-1, 1, (5, 1, 8, 8)).astype(np.float32)
    for drift in DRIFTS:
        changed = drift.change(pictures)
        assert (changed.shape, changed.dtype) == (pictures.shape, pictures.dtype)
        assert changed.min() >= -1
        assert changed.max() <= 1
        assert (changed != pictures).any(axis=(1, 2, 3)).all()
        assert np.array_equal(changed, drift.change(pictures))
