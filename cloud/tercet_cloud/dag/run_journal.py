"""What an engine tells of its runs, gathered while the keeper writes, and written in one transaction after another.

A node counts as finished once its result and state are written, in this order of time: after a crash it is not run
again; what had not been written yet is. Runs begin only after they were written themselves.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ray.exceptions import RayError

from tercet_cloud.dag.engine import Journal
from tercet_cloud.dag.outcomes import WHOLE, NodeChanged, NodeState, RunChanged
from tercet_cloud.dag.records import ItemRecord, NodeRecord, RunRecord
from tercet_cloud.dag.run_lease import BEAT_S
from tercet_cloud.dag.run_store import Batch, Row
from tercet_cloud.dag.run_view import RunView
from tercet_cloud.error_lines import last_line

log = logging.getLogger(__name__)

# Larger batches wait for no more; the keeper takes them as arguments of one call.
_MAX_VALUES = 500
_RETRY_S = 0.5
_CALL_S = 60.0


class RunJournal(Journal):
    """See the module.

    Args:
        keeper: the actor.
        lost: called with a run that another scheduler has taken over.
        cancelled: called with a run, and the node or *, that somebody wants to be given up.
    """

    def __init__(self, keeper: Any, *, lost: Callable[[str], None], cancelled: Callable[[str, str], None]) -> None:
        self._keeper, self._lost, self._cancelled = keeper, lost, cancelled
        self._runs: dict[str, Row] = {}
        self._nodes: dict[tuple[str, str], Row] = {}
        self._items: dict[tuple[str, str, int], Row] = {}
        self._values: list[tuple[Row, Any]] = []
        self._open: set[str] = set()
        self._dirty = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._renew())]

    async def close(self) -> None:
        """Write what is left, within a bound, and leave unfinished runs to others."""
        try:
            async with asyncio.timeout(_CALL_S):
                await self.flushed()
                await self._keeper.release.remote()
        except (TimeoutError, RayError) as error:
            log.warning("runs were not written to their end", extra={"reason": last_line(error)})
        for task in self._tasks:
            task.cancel()

    async def flushed(self) -> None:
        """Returns when everything that was told so far is written."""
        await self._idle.wait()

    def adopt(self, run: str) -> None:
        """A run that is in the store is ours now."""
        self._open.add(run)

    # --- what the engine tells

    async def add(self, run: str, spec: str, pipeline: str, inputs: Mapping[str, Any], facts: Row) -> None:
        """Returns when the run is written: from then on it outlives a crash. Raises what the store does."""
        row = {"run": run, "pipeline": pipeline, "spec": spec, **facts}
        await asyncio.wait_for(self._keeper.add.remote(row, list(inputs), *inputs.values()), _CALL_S)
        self._open.add(run)

    def value(self, run: str, source: str, item: int, kept: Any, address: str, length: int | None) -> None:
        row = {"run": run, "source": source, "item": item, "data": None, "address": address, "length": length}
        self._values.append((row, kept))
        self._touch()

    def changed(self, run: str, view: RunView, change: NodeChanged | RunChanged) -> None:
        if isinstance(change, RunChanged):
            self._runs[run] = _run_row(view.record(nodes=False))
            if change.state.ended:
                self._open.discard(run)
        elif change.state is NodeState.READY:
            return
        elif change.item == WHOLE:
            record = view.node_record(change.node)
            self._nodes[run, record.node] = _node_row(run, record)
        else:
            name = view.name_of(change.node)
            self._items[run, name, change.item] = _item_row(run, name, view.item_record(change.node, change.item))
            if change.reason:
                self._nodes[run, name] = _node_row(run, view.node_record(change.node))
        self._touch()

    def load(self, run: str, source: str, item: int) -> Any:
        return self._keeper.load.remote(run, source, item)

    # --- writing

    def _touch(self) -> None:
        self._dirty.set()
        self._idle.clear()

    async def _write(self) -> None:
        while True:
            await self._dirty.wait()
            batch, kept = self._take()
            while True:
                try:
                    for run in await asyncio.wait_for(self._keeper.write.remote(batch, *kept), _CALL_S):
                        self._open.discard(run)
                        self._lost(run)
                    break
                except (TimeoutError, RayError) as error:
                    log.warning("runs could not be written; trying again", extra={"reason": last_line(error)})
                    await asyncio.sleep(_RETRY_S)
            if not self._dirty.is_set():
                self._idle.set()

    def _take(self) -> tuple[Batch, list[Any]]:
        """The next batch. States wait for the results before them."""
        taken, self._values = self._values[:_MAX_VALUES], self._values[_MAX_VALUES:]
        kept = [reference for row, reference in taken if not row["address"]]
        rows = [row for row, _ in taken]
        if self._values:
            return Batch(values=rows), kept
        batch = Batch(list(self._runs.values()), list(self._nodes.values()), list(self._items.values()), rows)
        self._runs, self._nodes, self._items = {}, {}, {}
        self._dirty.clear()
        return batch, kept

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if not self._open:
                continue
            try:
                lost, cancels = await asyncio.wait_for(self._keeper.renew.remote(sorted(self._open)), _CALL_S)
            except (TimeoutError, RayError) as error:
                log.warning("no beat could be given", extra={"reason": last_line(error)})
                continue
            for run in lost:
                self._open.discard(run)
                self._lost(run)
            for run, node in cancels.items():
                self._cancelled(run, node)


def _run_row(record: RunRecord) -> Row:
    return {
        "run": record.run,
        "state": record.state.value,
        "started_s": record.started_s,
        "ended_s": record.ended_s,
        "reason": record.reason,
        "partial": record.partial,
    }


def _node_row(run: str, record: NodeRecord) -> Row:
    return {
        "run": run,
        "node": record.node,
        "state": record.state.value,
        "attempts": record.attempts,
        "started_s": record.started_s,
        "ended_s": record.ended_s,
        "reason": record.reason,
        "items": record.items,
        "troubles": json.dumps(record.troubles, ensure_ascii=False),
        "log": record.log,
        "busy_s": record.busy_s,
    }


def _item_row(run: str, node: str, record: ItemRecord) -> Row:
    return {
        "run": run,
        "node": node,
        "item": record.item,
        "state": record.state.value,
        "attempts": record.attempts,
        "started_s": record.started_s,
        "ended_s": record.ended_s,
        "reason": record.reason,
    }
