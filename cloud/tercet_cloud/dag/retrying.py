"""Whether a task that failed is tried again, and after how long. Pure."""

from __future__ import annotations

from tercet_cloud.dag.graph import Step
from tercet_cloud.dag.outcomes import Failed

MAX_RETRY_WAIT_S = 60.0
# A task is not to blame for a worker that died of something else, but one that always dies with it may be.
MAX_INNOCENT_TRIES = 20


def wait_before_retry_s(step: Step, failed: Failed, attempt: int, innocent: int) -> float | None:
    """None: it has failed for good.

    Args:
        attempt: number of the try that failed, from 1.
        innocent: tries of the task, this one included, that others ended.
    """
    if failed.innocent:
        return 0.0 if innocent <= MAX_INNOCENT_TRIES else None
    blamed = attempt - innocent
    if not failed.may_retry or blamed > step.retries:
        return None
    return min(MAX_RETRY_WAIT_S, step.retry_wait_s * 2.0 ** min(blamed - 1, 32))
