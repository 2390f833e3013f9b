"""A process that stores results, for tests that kill it or run several."""

from __future__ import annotations

import sys
import time

from tercet.durable.capture_time import AgeSource
from tercet.errors import OverloadedError
from tercet_cloud.database import Database
from tercet_cloud.database_url import DatabaseUrl
from tercet_cloud.results.result import Result, ResultKey
from tercet_cloud.results.store import ResultStore


def endless_writer(url: str, node: str, batches: int) -> None:
    """Store `batches` of 5 results, and print each one's sequence and what became of it."""
    store = ResultStore(Database(DatabaseUrl.parse(url, "--results")))
    for batch in range(batches):
        results = [_result(node, 5 * batch + number) for number in range(1, 6)]
        while True:
            try:
                outcomes = store.record(results)
                break
            except OverloadedError:
                time.sleep(0.05)
        for result, outcome in zip(results, outcomes, strict=True):
            sys.stdout.write(f"{result.key.sequence} {outcome}\n")
        sys.stdout.flush()


def _result(node: str, sequence: int) -> Result:
    return Result(ResultKey(node, sequence), "tiny@0123456789ab", "raw", bytes(3000), 1, AgeSource.MONOTONIC, 1)
