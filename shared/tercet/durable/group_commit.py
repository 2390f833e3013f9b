"""One writer thread for many callers: what they ask for meanwhile shares the next transaction and its fsync.

Each request runs in a savepoint of its own, so that an error undoes and reaches only the one concerned. When the
disk has no room, the transaction is run again with what requests have ready for that case (refuse a new frame, but
still note what was handed on), if need be in the room of the ballast.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from tercet.durable.ballast import DiskRoom
from tercet.durable.database import PAGE_BYTES, closed, is_damage, is_no_room, number, translated
from tercet.durable.ledger import Ledger
from tercet.errors import IntegrityError, InvariantError, OverloadedError
from tercet.limits import MIB

log = logging.getLogger(__name__)

T = TypeVar("T")
# Runs in the writer thread, within a transaction; raises TercetError, or sqlite3.Error.
Work = Callable[[sqlite3.Connection, Ledger], T]

# How often to look whether another process has written.
POLL_S = 1.0
# How long a request that nobody waits for may wait for company.
_IDLE_S = 0.2
_MAX_WAITING = 1024
_MAX_WAITING_BYTES = 128 * MIB
_MAX_BATCH = 1024
_MAX_BATCH_BYTES = 32 * MIB
CHECKPOINT_BYTES = 4 * MIB
# What a commit writes beside payloads, about.
_COMMIT_BYTES = 10 * PAGE_BYTES
# Free pages kept in the file for the next frames; more are given back to the disk, some at a time.
KEPT_FREE_PAGES = 32 * MIB // PAGE_BYTES
_VACUUM_PAGES = 1024
_CLOSE_S = 30.0


@dataclass(eq=False)
class _Request(Generic[T]):
    work: Work[T]
    # Instead of `work`, when there is no room; None: `work` itself needs hardly any.
    without_room: Work[T] | None
    size_bytes: int
    future: asyncio.Future[T] | None
    value: T | None = None
    error: BaseException | None = None

    def abandoned(self) -> bool:
        """Nobody waits any more."""
        return self.future is not None and self.future.cancelled()


@dataclass
class _Queue:
    """Requests that wait, in order. `lazy` ones alone do not hurry the writer."""

    requests: deque[_Request[Any]] = field(default_factory=deque)
    bytes: int = 0
    urgent: int = 0
    since_s: float = 0.0
    closing: bool = False


class GroupCommit:
    """Used by one event loop.

    Args:
        connection: the writer's own from now on, and closed at the end.
        on_change: called in the event loop after another process has written.
        on_end: called once the connection is closed.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        room: DiskRoom,
        *,
        on_change: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._path, self._connection, self._room = path, connection, room
        self._on_change, self._on_end = on_change, on_end
        self.ledger = Ledger(connection)
        self._queue = _Queue()
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=f"commit-{path.name}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._broken: str | None = None
        self._log_bytes = 0
        self._data_version = number(connection, "PRAGMA data_version")
        self._others_wrote = False
        self._next_poll_s = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Commit what waits, then end the thread and close the connection. If cancelled, that happens later."""
        with self._condition:
            self._queue.closing = True
            self._condition.notify()
        if self._thread.ident is None:
            self._end()
            return
        await asyncio.to_thread(self._thread.join, _CLOSE_S)
        if self._thread.is_alive():
            log.error("writer did not end", extra={"file": str(self._path), "waited_s": _CLOSE_S})

    async def run(self, work: Work[T], *, without_room: Work[T] | None = None, size_bytes: int = 0) -> T:
        """Run `work` in a transaction; returns what it returned, once it is on the disk.

        If cancelled, `work` was done as a whole or not at all.

        Raises:
            TercetError: that `work` raised, and only it is undone.
            OverloadedError: too much waits already, or there is no room.
            IntegrityError: the file is damaged.
            UnavailableError: this is closed, or another process kept the file locked.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Request(work, without_room, size_bytes, future), urgent=True)
        return await future

    def run_now(self, work: Work[T]) -> T:
        """As `run`, before `start`: in this thread."""
        request: _Request[T] = _Request(work, None, 0, None)
        self._commit([request])
        if request.error is not None:
            raise request.error
        return cast(T, request.value)

    def run_later(self, work: Work[None]) -> None:
        """Run `work` with the next transaction, or soon; nobody hears of its errors but the log."""
        self._put(_Request(work, None, 0, None), urgent=False)

    def _put(self, request: _Request[Any], *, urgent: bool) -> None:
        with self._condition:
            queue = self._queue
            if queue.closing:
                raise closed(self._path)
            if self._broken is not None:
                raise IntegrityError(self._broken)
            full = len(queue.requests) >= _MAX_WAITING or queue.bytes + request.size_bytes > _MAX_WAITING_BYTES
            if request.without_room is not None and queue.requests and full:
                raise OverloadedError(
                    f"{len(queue.requests)} requests wait for {self._path}: send slower", retry_after_s=1.0
                )
            if not queue.requests:
                queue.since_s = time.monotonic()
            queue.requests.append(request)
            queue.bytes += request.size_bytes
            queue.urgent += urgent
            if urgent:
                self._condition.notify()

    # --- in the writer thread

    def _serve(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                if batch:
                    self._settle(batch)
                if time.monotonic() >= self._next_poll_s:
                    self._next_poll_s = time.monotonic() + POLL_S
                    self._guarded(self._look_around)
                if self._log_bytes > self._most_log_bytes():
                    self._guarded(self._checkpoint)
        finally:
            self._end()

    def _end(self) -> None:
        self._guarded(self._connection.close)
        self._on_end()

    def _next_batch(self) -> list[_Request[Any]] | None:
        """What to do now; nothing once a second; None at the end."""
        queue = self._queue
        with self._condition:
            until_s = time.monotonic() + POLL_S
            while not queue.urgent and not queue.closing:
                now_s = time.monotonic()
                due_s = min(until_s, queue.since_s + _IDLE_S) if queue.requests else until_s
                if now_s >= due_s:
                    break
                self._condition.wait(due_s - now_s)
            if queue.closing and not queue.requests:
                return None
            batch: list[_Request[Any]] = []
            size_bytes = 0
            while queue.requests and len(batch) < _MAX_BATCH and size_bytes < _MAX_BATCH_BYTES:
                request = queue.requests.popleft()
                queue.bytes -= request.size_bytes
                queue.urgent -= request.future is not None
                size_bytes += request.size_bytes
                if not request.abandoned():
                    batch.append(request)
            queue.since_s = time.monotonic()
            return batch

    def _settle(self, batch: list[_Request[Any]]) -> None:
        try:
            self._commit(batch)
        except BaseException as error:
            log.exception("transaction failed", extra={"file": str(self._path)})
            _fail(batch, InvariantError(f"{self._path}: {error!r}"))
        self._deliver(batch)

    def _commit(self, batch: list[_Request[Any]]) -> None:
        """Commit a batch; errors are noted in its requests."""
        written_before = self.ledger.written_bytes
        try:
            self._transact(batch, roomy=True)
            if self.ledger.written_bytes > written_before:
                self._room.wrote()
            return
        except sqlite3.Error as error:
            if not is_no_room(error):
                self._refuse(batch, error)
                return
            self._room.fell_short(str(error))
        for may_give in (True, False):
            try:
                self._transact(batch, roomy=False)
                return
            except sqlite3.Error as error:
                gave = may_give and is_no_room(error) and self._room.give_up_ballast()
                if not gave:
                    self._refuse(batch, error)
                    return
                log.warning("ballast given up", extra={"file": str(self._path)})

    def _transact(self, batch: list[_Request[Any]], *, roomy: bool) -> None:
        """All of a batch in one transaction; raises sqlite3.Error if that failed as a whole."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            self._notice_others()
            self._room.begin(self._log_bytes)
            written_before = self.ledger.written_bytes
            for request in batch:
                self._attempt(request, roomy=roomy)
            self.ledger.write()
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            self.ledger.reload()
            raise
        self.ledger.publish()
        self._log_bytes += _COMMIT_BYTES + self.ledger.written_bytes - written_before

    def _attempt(self, request: _Request[Any], *, roomy: bool) -> None:
        execute = self._connection.execute
        work = request.work if roomy or request.without_room is None else request.without_room
        request.value = request.error = None
        mark = self.ledger.mark()
        execute("SAVEPOINT request")
        try:
            request.value = work(self._connection, self.ledger)
        except sqlite3.Error as error:
            if is_no_room(error) or is_damage(error) or not self._connection.in_transaction:
                raise
            request.error = translated(error, self._path)
        except StopIteration as error:  # which no future takes
            request.error = InvariantError(f"{self._path}: {error!r}")
        except Exception as error:  # the caller's own, such as from sealing: it is for the caller to handle
            request.error = error
        if request.error is not None:
            execute("ROLLBACK TO request")
            self.ledger.undo(mark)
        execute("RELEASE request")

    def _refuse(self, batch: list[_Request[Any]], error: sqlite3.Error) -> None:
        told = translated(error, self._path)
        told.__cause__ = error
        if is_damage(error) and self._broken is None:
            self._broken = str(told)
            log.error("durable frames cannot be kept", extra={"file": str(self._path), "reason": self._broken})
        _fail(batch, told)

    def _deliver(self, batch: list[_Request[Any]]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, batch)
        except RuntimeError:  # the loop has gone, and with it those who waited
            log.debug("nobody to tell", extra={"file": str(self._path)})

    def _notice_others(self) -> None:
        """Count anew if another process has committed since the last look."""
        version = number(self._connection, "PRAGMA data_version")
        if version != self._data_version:
            self._data_version = version
            self._others_wrote = True
            self.ledger.reload()

    def _look_around(self) -> None:
        """Once a second: what others wrote, and pages to give back."""
        self._notice_others()
        if self._others_wrote:
            self._others_wrote = False
            self.ledger.refresh()
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._on_change)
        self._shrink()

    def _shrink(self) -> None:
        free_pages = number(self._connection, "PRAGMA freelist_count")
        if free_pages > (0 if self._room.short else KEPT_FREE_PAGES):
            self._connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            self._log_bytes += _VACUUM_PAGES * PAGE_BYTES

    def _most_log_bytes(self) -> int:
        """How long the log may get. What is in it will need room in the file: never more than the ballast gives."""
        if self._room.short:
            return 0
        return min(CHECKPOINT_BYTES, self._room.ballast_bytes // 2 or CHECKPOINT_BYTES)

    def _checkpoint(self) -> None:
        """Move the log into the file, so that it starts anew, in the blocks that it has."""
        self._log_bytes = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            if not is_no_room(error):
                raise
            self._room.fell_short(str(error))

    def _guarded(self, task: Callable[[], None]) -> None:
        """Housekeeping that fails waits for the next time."""
        try:
            task()
        except Exception as error:
            if isinstance(error, sqlite3.Error) and is_no_room(error):
                self._room.fell_short(str(error))
            else:
                log.warning("housekeeping failed", extra={"file": str(self._path), "reason": str(error)})


def _fail(batch: list[_Request[Any]], error: BaseException) -> None:
    for request in batch:
        request.value, request.error = None, error


def _resolve(batch: list[_Request[Any]]) -> None:
    for request in batch:
        if request.future is None or request.future.done():
            continue
        if request.error is None:
            request.future.set_result(request.value)
        else:
            request.future.set_exception(request.error)
