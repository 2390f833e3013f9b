"""Rounds, their order, and which of them count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from tercet.inference.interleaved import Effort, MeasuringStopped, quiet_medians, time_in_turns


@dataclass
class Workshop:
    """A clock that only work moves on, and what was done."""

    now_ns: int = 0
    done: list[str] = field(default_factory=list)

    def clock_ns(self) -> int:
        return self.now_ns

    def work(self, name: str, ms: float) -> Callable[[], None]:
        def probe() -> None:
            self.done.append(name)
            self.now_ns += round(ms * 1e6)

        return probe


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


def test_times_stand_in_the_order_given_whatever_order_they_were_taken_in(workshop: Workshop) -> None:
    series = [[workshop.work("a", 1), workshop.work("b", 2)], [workshop.work("c", 3)], [workshop.work("d", 4)]]
    times_ms = time_in_turns(series, Effort(0.01, 5, 5, 1), clock_ns=workshop.clock_ns)
    assert times_ms.tolist() == [[1, 2, 3, 4]] * 5


def test_rounds_have_another_order_each_but_a_series_stays_together(workshop: Workshop) -> None:
    series = [[workshop.work("a", 1), workshop.work("b", 1)], *([workshop.work(name, 1)] for name in "cdef")]
    time_in_turns(series, Effort(0.01, 8, 8, 0), clock_ns=workshop.clock_ns)
    rounds = ["".join(workshop.done[at : at + 6]) for at in range(0, len(workshop.done), 6)]
    assert len(rounds) == 8
    assert len(set(rounds)) > 1
    assert all("ab" in one and sorted(one) == list("abcdef") for one in rounds)


def test_warm_up_rounds_do_not_count(workshop: Workshop) -> None:
    times_ms = time_in_turns([[workshop.work("a", 1)]], Effort(0.001, 3, 3, 2), clock_ns=workshop.clock_ns)
    assert len(times_ms) == 3
    assert len(workshop.done) == 5


def test_progress_only_grows_and_ends_at_one(workshop: Workshop) -> None:
    told: list[float] = []
    time_in_turns([[workshop.work("a", 1)]], Effort(0.001, 4, 4, 1), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1


def test_measuring_stops_when_it_is_told_to(workshop: Workshop) -> None:
    with pytest.raises(MeasuringStopped):
        time_in_turns([[workshop.work("a", 1)]], Effort(60, 1000, 1000), stopped=lambda: len(workshop.done) == 3)
    assert len(workshop.done) == 3


def test_rounds_that_a_neighbour_slowed_do_not_count() -> None:
    quiet, slowed = [1.0, 2.0], [5.0, 9.0]
    times_ms = np.array([quiet, slowed, quiet, slowed, slowed, quiet, quiet])
    assert quiet_medians(times_ms).tolist() == quiet


def test_a_single_spike_does_not_count() -> None:
    times_ms = np.array([[1.0, 2.0], [1.0, 2.5], [1.2, 2.0], [1.0, 2.0], [1.0, 2.0]])
    assert quiet_medians(times_ms).tolist() == [1.0, 2.0]
