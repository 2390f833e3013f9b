"""What is known of runs from the disk alone: the run store as it was seen while they ran, and what it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.pipelines.execution_books import Written
from tercet.errors import NotFoundError
from tercet_cloud.dag.kept_outputs import kept_outputs
from tercet_cloud.dag.outcomes import WHOLE, NodeState, RunState
from tercet_cloud.dag.records import ItemRecord, NodeRecord, RunRecord
from tercet_cloud.dag.run_store import RunStore, state_url


class RunEvidence:
    """A run store, looked at while others write to it. Blocking; `state` must exist."""

    def __init__(self, state: Path) -> None:
        self._store = RunStore(state_url(state), state / "values")
        self._written: dict[str, dict[str, Written]] = {}

    def close(self) -> None:
        self._store.close()

    def look(self, run: str) -> RunRecord | None:
        """The run as it stands, remembered; None while it is not in the store."""
        try:
            record = self._store.record(run)
        except NotFoundError:
            return None
        # After it was read: whatever begins later begins after it was written.
        now_s = time.monotonic()
        written = self._written.setdefault(run, {})
        for step, row in rows_of(record).items():
            written.setdefault(step, Written(now_s, row))
        return record

    def written(self, run: str) -> Mapping[str, Written]:
        return self._written.get(run, {})

    def names(self) -> list[str]:
        """Of all runs."""
        return [record.run for record in self._store.list(None)]

    def outputs(self, run: str) -> dict[str, Any]:
        return kept_outputs(self._store, run)[0]

    def misplaced(self, record: RunRecord) -> list[str]:
        """Results that a run that is done keeps too many or too few of, in words."""
        said = []
        for node in record.nodes:
            wanted = [] if node.state is NodeState.SKIPPED else [WHOLE]
            if node.items is not None:
                wanted = list(range(node.items))
            if (kept := list(self._store.item_numbers(record.run, node.node))) != wanted:
                said.append(f"{record.run}: of {node.node} the results {kept} are kept instead of {wanted}")
        return said


def rows_of(record: RunRecord) -> dict[str, tuple[object, ...]]:
    """What is said of every node and item that is done, by node or NODE/ITEM."""
    found = {}
    for node in record.nodes:
        if node.state is NodeState.DONE:
            found[node.node] = _row(node)
        found |= {f"{node.node}/{item.item}": _row(item) for item in node.each if item.state is NodeState.DONE}
    return found


def is_done(record: RunRecord | None) -> bool:
    """Whether a run is done, and all of it."""
    return record is not None and record.state is RunState.DONE and not record.partial


def _row(record: NodeRecord | ItemRecord) -> tuple[object, ...]:
    return record.attempts, record.started_s, record.ended_s
