from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.trace import Trace, TracePoint, mobile_trace, ramp_trace, step_trace

FAST, SLOW = LinkCondition.symmetric(50, 10), LinkCondition.symmetric(2, 80)


def test_a_step_changes_the_link_once_and_back() -> None:
    trace = step_trace(FAST, SLOW, at_s=10, back_at_s=20)
    assert [trace.at(time_s) for time_s in (0, 9.9, 10, 19.9, 20, 1000)] == [FAST, FAST, SLOW, SLOW, FAST, FAST]


def test_a_ramp_goes_evenly_from_one_end_to_the_other() -> None:
    trace = ramp_trace(FAST, SLOW, over_s=10, steps=4)
    assert [point.condition.up_mbps for point in trace.points] == [50, 38, 26, 14, 2]
    assert [point.at_s for point in trace.points] == [0, 2.5, 5, 7.5, 10]
    assert trace.at(10).round_trip_ms == 80


@given(st.integers(0, 1000))
def test_a_mobile_walk_stays_a_possible_link(seed: int) -> None:
    trace = mobile_trace(seed, 30, FAST)
    checked = Trace.model_validate_json(trace.model_dump_json())
    assert checked == trace
    assert checked.last_s < 30


def test_a_mobile_walk_is_its_seeds_and_wanders_around_its_mean() -> None:
    assert mobile_trace(1, 60, FAST) == mobile_trace(1, 60, FAST) != mobile_trace(2, 60, FAST)
    rates = [point.condition.up_mbps for seed in range(20) for point in mobile_trace(seed, 60, FAST).points]
    assert 0.6 * 50 < np.mean(rates) < 1.1 * 50
    assert min(rates) < 10
    assert max(rates) > 80
    steps = np.abs(np.diff([point.condition.up_mbps for point in mobile_trace(1, 60, FAST).points]))
    assert np.median(steps) < 15


@pytest.mark.parametrize("times", [[1.0], [0.0, 2.0, 2.0], [0.0, 3.0, 2.0]])
def test_a_trace_that_does_not_run_forward_from_0_is_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="starts at 0 s"):
        Trace(name="wrong", points=tuple(TracePoint(at_s=time_s, condition=FAST) for time_s in times))
