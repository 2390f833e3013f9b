"""Whether a failed task is tried again."""

from __future__ import annotations

import pytest

from support.dag_graphs import step
from tercet_cloud.dag.outcomes import Failed, Trouble
from tercet_cloud.dag.retrying import MAX_INNOCENT_TRIES, MAX_RETRY_WAIT_S, wait_before_retry_s

ERROR = Failed(Trouble.ERROR, "no")
OTHERS_FAULT = Failed(Trouble.ERROR, "its worker died", innocent=True)


@pytest.mark.parametrize(("attempt", "wait_s"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, None)])
def test_waits_double_and_end_with_the_retries(attempt: int, wait_s: float | None) -> None:
    assert wait_before_retry_s(step("a", retries=3, retry_wait_s=1.0), ERROR, attempt, 0) == wait_s


@pytest.mark.parametrize("attempt", [10, 2000])
def test_no_wait_is_longer_than_the_longest(attempt: int) -> None:
    assert wait_before_retry_s(step("a", retries=5000), ERROR, attempt, 0) == MAX_RETRY_WAIT_S


def test_tries_that_others_ended_cost_no_retry_and_no_wait() -> None:
    once = step("a", retries=1)
    assert wait_before_retry_s(once, OTHERS_FAULT, 5, 5) == 0.0
    assert wait_before_retry_s(once, ERROR, 6, 5) == 1.0
    assert wait_before_retry_s(once, ERROR, 7, 5) is None


def test_a_task_that_always_dies_with_its_worker_is_given_up() -> None:
    tries = MAX_INNOCENT_TRIES + 1
    assert wait_before_retry_s(step("a", retries=100), OTHERS_FAULT, tries, tries) is None


def test_what_no_retry_can_mend_is_not_tried_again() -> None:
    assert wait_before_retry_s(step("a", retries=9), Failed(Trouble.ERROR, "no", may_retry=False), 1, 0) is None
