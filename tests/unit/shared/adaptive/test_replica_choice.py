"""Routing among peers, and leaving failing ones out."""

from __future__ import annotations

import pytest

from tercet.adaptive.circuit_breaker import FAILURES_TO_OPEN, LONGEST_PAUSE_S, TRIAL_S, CircuitBreaker
from tercet.adaptive.replica_choice import ReplicaChoice
from tercet.errors import LinkDownError, SpecError


def opened(now_s: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(seed=1)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(now_s)
    return breaker


def test_a_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = CircuitBreaker(seed=1)
    for _ in range(10):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()
    assert breaker.allows(0)
    assert not opened().allows(0)


def test_half_open_lets_one_call_through_and_success_closes() -> None:
    breaker = opened()
    later_s = breaker.retry_after_s(0)
    assert breaker.state(later_s) == "half-open"
    assert breaker.allows(later_s)
    assert not breaker.allows(later_s)
    breaker.succeeded()
    assert breaker.allows(later_s)


def test_a_failed_trial_opens_again_with_longer_pauses_up_to_a_limit() -> None:
    breaker, now_s, pauses = opened(), 0.0, []
    for _ in range(12):
        wait_s = breaker.retry_after_s(now_s)
        pauses.append(wait_s)
        now_s += wait_s
        assert breaker.allows(now_s)
        breaker.failed(now_s)
    assert pauses[5] > 4 * pauses[0]
    assert max(pauses) <= LONGEST_PAUSE_S


def test_a_trial_that_is_never_reported_does_not_block_for_ever() -> None:
    breaker = opened()
    later_s = breaker.retry_after_s(0)
    assert breaker.allows(later_s)
    assert breaker.allows(later_s + TRIAL_S)


def run(choice: ReplicaChoice[str], latencies_ms: dict[str, float], frames: int) -> dict[str, int]:
    taken = dict.fromkeys(latencies_ms, 0)
    for _ in range(frames):
        peer = choice.choose(0.0)
        taken[peer] += 1
        choice.answered(peer, latencies_ms[peer])
    return taken


def test_the_quicker_peer_gets_most_and_every_peer_is_tried() -> None:
    taken = run(ReplicaChoice(["a", "b", "c"]), {"a": 5, "b": 50, "c": 6}, 300)
    assert taken["b"] <= 2
    assert min(taken["a"], taken["b"], taken["c"]) >= 1


def test_a_peer_that_was_slow_long_ago_is_tried_again_with_one_frame() -> None:
    choice = ReplicaChoice(["a", "b"])
    run(choice, {"a": 5, "b": 500}, 10)
    taken = []
    for tenth in range(130):
        peer = choice.choose(tenth / 10)
        taken.append(peer)
        choice.answered(peer, {"a": 5, "b": 500}[peer])
    assert taken[:90] == ["a"] * 90
    assert taken.count("b") == 1


def test_frames_under_way_count_as_a_queue() -> None:
    choice = ReplicaChoice(["a", "b"])
    run(choice, {"a": 10, "b": 11}, 50)
    taken = [choice.choose(0.0) for _ in range(10)]
    assert abs(taken.count("a") - taken.count("b")) <= 2


def test_a_failing_peer_is_left_out_and_comes_back() -> None:
    choice = ReplicaChoice(["a", "b"])
    now_s = 0.0
    while choice.states(now_s)["a"] == "closed":
        peer = choice.choose(now_s)
        choice.failed(peer, now_s) if peer == "a" else choice.answered(peer, 5)
    assert {choice.choose(now_s) for _ in range(20)} == {"b"}
    now_s += 1.0
    assert choice.choose(now_s) == "a"
    choice.answered("a", 5)
    assert choice.states(now_s)["a"] == "closed"


def test_when_all_are_out_the_error_says_when_to_retry() -> None:
    choice = ReplicaChoice(["a"])
    for _ in range(FAILURES_TO_OPEN):
        choice.failed(choice.choose(0.0), 0.0)
    with pytest.raises(LinkDownError, match="left alone") as refused:
        choice.choose(0.0)
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 0


def test_a_second_try_goes_elsewhere_if_it_can() -> None:
    choice = ReplicaChoice(["a", "b"])
    assert {choice.choose(0.0, avoid=frozenset({"a"})) for _ in range(5)} == {"b"}
    assert choice.choose(0.0, avoid=frozenset({"a", "b"})) in {"a", "b"}


def test_no_peer_or_one_twice_is_refused() -> None:
    with pytest.raises(SpecError):
        ReplicaChoice([])
    with pytest.raises(SpecError):
        ReplicaChoice(["a", "a"])


def test_a_peer_that_is_known_to_be_gone_is_left_alone_at_once() -> None:
    breaker = CircuitBreaker(seed=1)
    breaker.gone(0)
    assert not breaker.allows(0)


def test_with_probes_no_frame_is_risked_and_a_probe_brings_the_peer_back() -> None:
    choice = ReplicaChoice(["a"], probed=True)
    assert choice.choose(0.0) == "a"
    choice.abandoned("a")
    choice.gone("a", 0.0)
    now_s = 0.0
    while not choice.probe_due("a", now_s):
        with pytest.raises(LinkDownError) as refused:
            choice.choose(now_s)
        assert refused.value.retry_after_s
        now_s += 0.05
    # The time for a trial has come: still no frame goes there, and only one probe.
    with pytest.raises(LinkDownError):
        choice.choose(now_s)
    assert not choice.probe_due("a", now_s)
    choice.revived("a")
    assert choice.choose(now_s) == "a"


def test_probes_of_a_peer_that_stays_away_get_rarer_but_come_every_few_seconds() -> None:
    choice = ReplicaChoice(["a"], probed=True)
    choice.gone("a", 0.0)
    now_s, probes = 0.0, []
    while now_s < 300:
        now_s += 0.05
        if choice.probe_due("a", now_s):
            probes.append(now_s)
            choice.gone("a", now_s)
    assert 300 / 2 <= len(probes) <= 300
