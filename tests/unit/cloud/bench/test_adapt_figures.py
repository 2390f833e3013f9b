"""What the frames of a trace amount to."""

from __future__ import annotations

import pytest

from tercet.frame_record import FrameRecord
from tercet_cloud.bench.adapt.figures import Phase, Run, oracle, plans_used, reaction_s, run_figures

FAST, SLOW = Phase("fast", 0, 10), Phase("slow", 10, 20)


def frame(plan: str, at_s: float, latency_ms: float, error: str | None = None) -> FrameRecord:
    return FrameRecord(
        node="d",
        sequence=1,
        source="x",
        model="m",
        plan=plan,
        latency_ms=latency_ms,
        ended_s=100 + at_s + latency_ms / 1000,
        error=error,
        error_kind="DeadlineError" if error else None,
    )


def run(strategy: str, *stretches: tuple[str, float, float, float]) -> Run:
    """Ten frames a second: (plan, from, until, latency)."""
    records = [
        frame(plan, from_s + n / 10, latency_ms)
        for plan, from_s, until_s, latency_ms in stretches
        for n in range(round((until_s - from_s) * 10))
    ]
    return Run(strategy, 100.0, tuple(records))


REMOTE = run("remote", ("remote", 0, 10, 50), ("remote", 10, 20, 900))
LOCAL = run("local", ("local", 0, 20, 120))


def test_the_oracle_takes_the_best_fixed_plan_of_each_phase() -> None:
    figures, chosen = oracle([REMOTE, LOCAL], [FAST, SLOW], 250)
    assert chosen == {"fast": "remote", "slow": "local"}
    assert (figures.frames, figures.in_deadline) == (200, 1.0)
    assert figures.p99_ms == pytest.approx(120)


def test_reaction_is_the_time_until_a_plan_as_good_as_the_best_is_used() -> None:
    adaptive = run("adaptive", ("remote", 0, 10.7, 60), ("local", 10.7, 20, 121))
    assert reaction_s(adaptive, [REMOTE, LOCAL], SLOW) == pytest.approx(0.7)
    assert reaction_s(adaptive, [REMOTE, LOCAL], FAST) == pytest.approx(0.0)
    assert reaction_s(REMOTE, [REMOTE, LOCAL], SLOW) is None


def test_frames_without_an_answer_are_late_and_in_no_percentile() -> None:
    lost = Run("x", 100.0, (frame("a", 0, 10), frame("a", 1, 400), frame("a", 2, 0, error="nobody")))
    figures = run_figures(lost, 250)
    assert (figures.frames, figures.answered) == (3, 2)
    assert figures.in_deadline == pytest.approx(1 / 3)
    assert figures.p99_ms < 401


def test_plans_are_counted_by_phase() -> None:
    adaptive = run("adaptive", ("remote", 0, 12, 60), ("local", 12, 20, 121))
    assert plans_used(adaptive, [FAST, SLOW]) == {"fast": {"remote": 100}, "slow": {"remote": 20, "local": 80}}
