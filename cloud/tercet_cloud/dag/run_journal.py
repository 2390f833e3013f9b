"""What an engine tells of its runs, gathered while the keeper writes, and written in one transaction after another.

A node counts as finished once its result and state are written, in this order of time: after a crash it is not run
again; what had not been written yet is. Runs begin only after they were written themselves. What cannot be written
fails its run, and no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ray.exceptions import ObjectLostError, RayError, RayTaskError

from tercet.errors import DeadlineError, TercetError, UnavailableError
from tercet.limits import MIB
from tercet_cloud.dag.engine import Journal
from tercet_cloud.dag.outcomes import WHOLE, NodeChanged, NodeState, RunChanged, RunState
from tercet_cloud.dag.records import NodeRecord
from tercet_cloud.dag.run_lease import BEAT_S
from tercet_cloud.dag.run_rows import item_row, node_row, run_row
from tercet_cloud.dag.run_tables import Row
from tercet_cloud.dag.run_view import RunView
from tercet_cloud.dag.write_queue import Entry, WriteQueue, batch_of
from tercet_cloud.error_lines import last_line

log = logging.getLogger(__name__)

# What may wait to be written before no further node starts.
MAX_WAITING_BYTES = 64 * MIB
# About what a row takes in memory, beside its texts.
_ROW_BYTES = 1000
_RETRY_S = 0.5
_CALL_S = 60.0


class RunJournal(Journal):
    """See the module.

    Args:
        keeper: the actor.
        lost: called with a run that another scheduler has taken over.
        failed: called with a run whose rows cannot be written, and the reason.
        cancelled: called with a run, and the node or ALL, that somebody wants to be given up; False if that has to
            be said again later.
        drained: called when there is room again.
    """

    def __init__(
        self,
        keeper: Any,
        *,
        lost: Callable[[str], None],
        failed: Callable[[str, str], None],
        cancelled: Callable[[str, str], bool],
        drained: Callable[[], None],
    ) -> None:
        self._keeper, self._lost, self._failed = keeper, lost, failed
        self._cancelled, self._drained = cancelled, drained
        self._line = WriteQueue()
        # Runs that are ours, until their end is written: these beat, and only of these anything is written.
        self._open: set[str] = set()
        self._dirty = asyncio.Event()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._heard: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._spawn(self._write())
        self._spawn(self._beat())

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
        if self._line.done < self._line.told:
            written = asyncio.get_running_loop().create_future()
            self._waiting.append((self._line.told, written))
            await written

    def holds(self, run: str) -> bool:
        """Whether a run is ours, and its end not yet written."""
        return run in self._open

    def has_room(self) -> bool:
        return self._line.size_bytes < MAX_WAITING_BYTES

    # --- whose a run is

    async def add(self, row: Row, inputs: Mapping[str, Any]) -> bool:
        """Returns when a new run is written: from then on it is ours, and outlives a crash.

        False if a scheduler before this one had written it already: it is taken over when that one is surely dead.
        Raises what the store does; after DeadlineError it is not known whether the run is there.
        """
        try:
            adding = self._keeper.add.remote(row, list(inputs), *inputs.values())
            ours: bool = await asyncio.wait_for(adding, _CALL_S)
        except TimeoutError as error:
            raise DeadlineError(f"run {row['run']} could not be written within {_CALL_S:g} s") from error
        except RayTaskError as error:
            if isinstance(error.cause, TercetError):
                raise error.cause from error
            raise
        if ours:
            self._open.add(row["run"])
        return ours

    def adopt(self, run: str, deadline_at_s: float | None) -> None:
        """A run that is in the store is ours now."""
        self._open.add(run)
        self._put(Entry("runs", {"run": run, "deadline_at_s": deadline_at_s}, size_bytes=_ROW_BYTES))

    async def end(self, run: str, reason: str) -> None:
        """A run of ours cannot go on: it has failed, and is no longer ours."""
        self._open.discard(run)
        log.warning("a run cannot go on", extra={"run": run, "reason": reason})
        try:
            await self._asked(lambda: self._keeper.end.remote(run, reason))
        except Exception as error:
            log.warning("the end of a run could not be written", extra={"run": run, "reason": last_line(error)})

    # --- what the engine tells

    def value(self, run: str, source: str, item: int, kept: Any, address: str, size_bytes: int) -> None:
        row = {"run": run, "source": source, "item": item, "data": None, "address": address}
        inline = not address
        self._put(Entry("values", row, kept if inline else None, _ROW_BYTES + (size_bytes if inline else 0)))

    def changed(self, run: str, view: RunView, change: NodeChanged | RunChanged) -> None:
        if isinstance(change, RunChanged):
            row = run_row(view.record(nodes=False))
            self._put(Entry("runs", row, size_bytes=_ROW_BYTES))
        elif change.state is NodeState.READY:
            return
        elif change.item == WHOLE:
            self._put_node(run, view.node_record(change.node))
        else:
            row = item_row(run, view.name_of(change.node), view.item_record(change.node, change.item))
            self._put(Entry("items", row, size_bytes=_ROW_BYTES))
            if change.reason:
                self._put_node(run, view.node_record(change.node))

    def load(self, run: str, source: str, item: int) -> Any:
        return self._keeper.load.remote(run, source, item)

    def _put_node(self, run: str, record: NodeRecord) -> None:
        row = node_row(run, record)
        self._put(Entry("nodes", row, size_bytes=_ROW_BYTES + len(row["log"]) + len(row["troubles"])))

    def _put(self, entry: Entry) -> None:
        if entry.run in self._open:
            self._line.put(entry)
            self._dirty.set()

    # --- writing

    async def _write(self) -> None:
        while True:
            await self._dirty.wait()
            entries = self._line.take()
            if not entries:
                self._dirty.clear()
                continue
            await self._store(entries)
            had_room = self.has_room()
            self._line.finish(entries)
            self._tell_written()
            if not had_room and self.has_room():
                self._drained()

    async def _store(self, entries: Sequence[Entry]) -> None:
        """Write them; if that cannot be, run by run, and fail the run whose rows are at fault."""
        entries = [entry for entry in entries if entry.run in self._open]
        if not entries:
            return
        batch, kept = batch_of(entries)
        try:
            lost = await self._asked(lambda: self._keeper.write.remote(batch, *kept))
        except Exception as error:
            runs = dict.fromkeys(entry.run for entry in entries)
            if len(runs) == 1:
                await self._fail(entries[0].run, error)
                return
            for run in runs:
                await self._store([entry for entry in entries if entry.run == run])
            return
        for run in lost:
            self._lose(run)
        for entry in entries:
            if entry.table == "runs" and RunState(entry.row.get("state", RunState.QUEUED)).ended:
                self._open.discard(entry.run)

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What the keeper answers, asked again while that may help."""
        failed = False
        while True:
            try:
                answer = await asyncio.wait_for(ask(), _CALL_S)
            except Exception as error:
                if not _may_pass(error):
                    raise
                if not failed:
                    log.warning("runs could not be written; trying again", extra={"reason": last_line(error)})
                failed = True
                await asyncio.sleep(_RETRY_S)
                continue
            if failed:
                log.info("runs are written again")
            return answer

    def _tell_written(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._line.done:
            _, written = self._waiting.popleft()
            if not written.done():
                written.set_result(None)

    async def _fail(self, run: str, error: Exception) -> None:
        lost = isinstance(_cause(error), ObjectLostError)
        reason = f"it cannot be kept: {'a result was lost with who held it' if lost else last_line(error)}"
        self._failed(run, reason)
        await self.end(run, reason)

    def _lose(self, run: str) -> None:
        if run in self._open:
            self._open.discard(run)
            self._lost(run)

    # --- beats

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if not self._open:
                continue
            try:
                lost, wishes = await asyncio.wait_for(self._keeper.renew.remote(sorted(self._open)), _CALL_S)
            except Exception as error:
                log.warning("no beat could be given", extra={"reason": last_line(error)})
                continue
            for run in lost:
                self._lose(run)
            for run, nodes in wishes.items():
                for node in nodes:
                    self._hear(run, node)

    def _hear(self, run: str, node: str) -> None:
        if (run, node) not in self._heard and self._cancelled(run, node):
            self._heard.add((run, node))
            self._spawn(self._clear(run, node))

    async def _clear(self, run: str, node: str) -> None:
        """A wish has been granted: it goes when what came of it is written, so that no crash undoes it."""
        try:
            # The engine has told what came of it by now: it was asked to look before this task was made.
            await self.flushed()
            await self._asked(lambda: self._keeper.clear_cancels.remote([(run, node)]))
        except Exception as error:
            log.warning("a wish to cancel was not cleared", extra={"run": run, "reason": last_line(error)})
        finally:
            self._heard.discard((run, node))

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _may_pass(error: Exception) -> bool:
    """Whether asking the keeper again may help: it died, or its database is away."""
    cause = _cause(error)
    if isinstance(cause, RayError):
        return not isinstance(cause, ObjectLostError)
    return isinstance(cause, TimeoutError | UnavailableError)


def _cause(error: Exception) -> BaseException:
    """What went wrong in the keeper, of an error that came from there."""
    return error.cause if isinstance(error, RayTaskError) else error
