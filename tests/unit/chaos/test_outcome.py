"""What is made of outcomes: every broken promise is said, and the table adds up."""

from __future__ import annotations

from dataclasses import replace

from chaos.ledger import Acknowledged, FrameKey, History, Stored, settle
from chaos.outcome import Fault, Outcome, Row, table
from chaos.service_gap import RealtimeFrame


def outcome(*, lost: int = 0, failed: int = 0, stuck: str = "") -> Outcome:
    """Ten frames, so many of them lost; ten realtime frames after a fault at 100 s, the first two degraded."""
    keys = [FrameKey("cam-1", number) for number in range(1, 11)]
    history = History(
        offered=10,
        acknowledged=[Acknowledged(key, str(key.sequence)) for key in keys],
        stored=[Stored(key, str(key.sequence)) for key in keys[: 10 - lost]],
    )
    realtime = [
        RealtimeFrame(100 + place, 100.1 + place, degraded=place < 2, failed=place < failed, reason="no edge")
        for place in range(10)
    ]
    return Outcome(
        "kill-edge",
        3,
        {},
        settle(history),
        realtime,
        [Fault("killed", 100.0)],
        1.0,
        9.0,
        stuck=[stuck] if stuck else [],
    )


def test_a_sound_outcome_breaks_nothing() -> None:
    assert outcome().broken == []


def test_recovery_is_counted_from_the_fault() -> None:
    recovery_s = outcome().recovery_s
    assert recovery_s is not None
    assert abs(recovery_s - 2.1) < 1e-9


def test_everything_that_is_broken_is_said() -> None:
    said = outcome(lost=2, failed=1, stuck="edge-1 was not ready").with_further(["and more"]).broken
    assert said[0] == "edge-1 was not ready"
    assert any(line.startswith("2 lost") for line in said)
    assert any("1 realtime frames failed, such as: no edge" in line for line in said)
    assert said[-1] == "and more"


def test_a_row_adds_up_its_seeds() -> None:
    row = Row.of("kill-edge", "An edge …", [outcome(), outcome(lost=2), replace(outcome(), faults=[])])
    assert (row.seeds, row.sent, row.acknowledged, row.lost, row.broken) == (3, 30, 30, 2, 1)
    assert (row.realtime, row.degraded, row.failed) == (30, 6, 0)


def test_the_table_shows_who_broke_a_promise() -> None:
    head, kept, broken = table([Row.of("a", "", [outcome()]), Row.of("b", "", [outcome(lost=1)])]).splitlines()
    assert head.split()[:3] == ["scenario", "seeds", "sent"]
    assert kept.endswith("kept")
    assert broken.endswith("BROKEN in 1")


def test_limits_of_time_stretch_with_the_load() -> None:
    slow = replace(outcome(), facts={"noticed s": 9.0})
    assert slow.over("noticed s", 5.0)
    assert not slow.over("noticed s", 10.0)
    assert not replace(slow, facts={"noticed s": 9.0, "load per processor": 2.0}).over("noticed s", 5.0)
    assert not slow.over("never measured s", 5.0)
