"""The process that writes runs down: a Ray actor around the run store, so that results reach it by reference.

It may die at any time: what it was about to write is given to its successor again, and writing twice changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from tercet_cloud.dag.kept_values import INLINE_BYTES
from tercet_cloud.dag.outcomes import WHOLE
from tercet_cloud.dag.run_lease import Lease
from tercet_cloud.dag.run_reading import Unfinished
from tercet_cloud.dag.run_store import Batch, RunStore
from tercet_cloud.dag.run_tables import Row
from tercet_cloud.dag.step_runner import from_bytes, to_bytes

RESTARTS = 1000


class RunKeeper:
    """The plain class; `new_keeper` makes its Ray actor."""

    def __init__(self, url: str, folder: Path, owner: str) -> None:
        self._store, self._owner = RunStore(url, folder), owner

    def add(self, row: Row, names: Sequence[str], *inputs: Any) -> bool:
        rows = []
        for name, value in zip(names, inputs, strict=True):
            rows.append(self._value_row(row["run"], f"input.{name}", to_bytes(value)))
        return self._store.add(row, rows, self._owner)

    def write(self, batch: Batch, *kept: bytes) -> list[str]:
        """Write a batch; its values whose address is empty take their bytes from `kept`, in order."""
        data = iter(kept)
        values = [row if row["address"] else {**row, "data": next(data)} for row in batch.values]
        return self._store.write(Batch(batch.runs, batch.nodes, batch.items, values), self._owner)

    def end(self, run: str, reason: str) -> None:
        self._store.end(run, self._owner, reason)

    @ray.method(concurrency_group="beats")  # type: ignore[untyped-decorator]
    def renew(self, runs: Sequence[str]) -> tuple[list[str], Mapping[str, Sequence[str]]]:
        return self._store.renew(runs, self._owner)

    def clear_cancels(self, wishes: Sequence[tuple[str, str]]) -> None:
        self._store.clear_cancels(wishes, self._owner)

    def leases(self, run: str | None = None) -> Sequence[Lease]:
        return self._store.leases(run)

    def claim(self, leases: Sequence[Lease]) -> Sequence[Unfinished]:
        return self._store.claim(leases, self._owner)

    def release(self) -> None:
        self._store.release(self._owner)

    def load(self, run: str, source: str, item: int) -> Any:
        return from_bytes(self._store.value(run, source, item))

    def _value_row(self, run: str, source: str, data: bytes) -> Row:
        row: Row = {"run": run, "source": source, "item": WHOLE, "data": data, "address": ""}
        if len(data) > INLINE_BYTES:
            row.update(data=None, address=self._store.folder.put(data))
        return row


def new_keeper(url: str, folder: Path, owner: str) -> Any:
    """A handle to a new keeper. Ray starts it anew when it dies, and repeats its calls."""
    # Beats have a thread of their own: they do not wait behind what is written or read.
    actor = ray.remote(
        num_cpus=0, max_restarts=RESTARTS, max_task_retries=RESTARTS, concurrency_groups={"beats": 1}
    )
    return actor(RunKeeper).remote(url, folder, owner)
