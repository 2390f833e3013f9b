"""Recovery is counted to the first good frame after the last bad one."""

from __future__ import annotations

from chaos.service_gap import RealtimeFrame, Recovery, recovery


def frames(*kinds: str, every_s: float = 0.5) -> list[RealtimeFrame]:
    """One frame every half second from 100 s on: good, degraded, failed or slow; each else takes 0.1 s."""
    return [
        RealtimeFrame(
            started_s=(start := 100 + place * every_s),
            ended_s=start + (3.0 if kind == "slow" else 0.1),
            degraded=kind == "degraded",
            failed=kind == "failed",
        )
        for place, kind in enumerate(kinds)
    ]


def test_an_unharmed_service_needs_no_recovery() -> None:
    assert recovery(frames(*["good"] * 6), 100.0, 200.0) == Recovery(0.0, 0.0)


def test_degraded_frames_are_answers_but_not_as_planned() -> None:
    seen = recovery(frames("good", "degraded", "degraded", "good", "good"), 100.2, 200.0)
    assert seen.answering_s == 0.0
    assert seen.as_planned_s is not None
    assert abs(seen.as_planned_s - 1.4) < 1e-9


def test_the_last_bad_frame_counts_not_the_first_good_one() -> None:
    seen = recovery(frames("good", "failed", "good", "failed", "good"), 100.0, 200.0)
    assert seen.answering_s is not None
    assert abs(seen.answering_s - 2.1) < 1e-9


def test_a_frame_that_was_held_up_is_not_as_planned() -> None:
    seen = recovery(frames("slow", "good"), 100.0, 200.0)
    assert seen.as_planned_s is not None
    assert seen.as_planned_s > 0


def test_a_service_that_stays_away_never_recovered() -> None:
    assert recovery(frames("good", "failed", "failed"), 100.0, 200.0) == Recovery(None, None)


def test_frames_after_the_next_fault_belong_to_it() -> None:
    assert recovery(frames("good", "good", "failed"), 100.0, 100.9) == Recovery(0.0, 0.0)
