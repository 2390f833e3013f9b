"""The durable frames of one call, each on its way to its receipt.

Frames that are stored already are only acknowledged. The others are computed and stored, in their order and as a
rule in one transaction; a receipt says TAKEN or DUPLICATE only for what the store has on disk. A frame that fails
by its own fault is refused and the others go on. Where waiting helps (the store is away), later frames of the same
device are refused with it, so that their order holds.

A frame may end the process that computes it. So frames that come again are marked in the store before they are
tried; who finds a mark of a process that died tries that frame alone, and after MAX_TRIES no more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from tercet.errors import InvariantError, OverloadedError, PoisonError, TercetError, UnavailableError
from tercet.limits import MIB
from tercet.v1 import delivery_pb2 as pb
from tercet.wire.messages import detail_from_error
from tercet_cloud.results.result import Result, ResultKey, Stored
from tercet_cloud.serving.durable_frame import DurableFrame, key_of
from tercet_cloud.serving.workshop import Workshop

log = logging.getLogger(__name__)

MAX_TRIES = 3
TWICE_RETRY_S = 1.0
# Results that wait for the transaction of their call; with more of them it has several.
_MAX_UNSTORED_BYTES = 32 * MIB


@dataclass
class _Item:
    """One delivery. Its outcome is unspecified until it is known."""

    key: ResultKey
    frame: DurableFrame | None = None
    outcome: pb.DeliveryOutcome = pb.DELIVERY_OUTCOME_UNSPECIFIED
    error: TercetError | None = None
    tries: int = 0

    @property
    def open(self) -> bool:
        return self.outcome == pb.DELIVERY_OUTCOME_UNSPECIFIED

    @property
    def at_fault(self) -> bool:
        return self.error is not None and not isinstance(self.error, UnavailableError)

    def refuse(self, error: TercetError) -> None:
        self.outcome, self.error = pb.DELIVERY_OUTCOME_REFUSED, error

    def receipt(self) -> pb.DeliveryReceipt:
        return pb.DeliveryReceipt(
            node=self.key.node,
            sequence=self.key.sequence,
            outcome=self.outcome,
            error=None if self.error is None else detail_from_error(self.error),
        )


@dataclass
class _Unstored:
    """What the next transaction is to have."""

    results: list[tuple[_Item, Result]] = field(default_factory=list)
    ended: set[ResultKey] = field(default_factory=set)

    @property
    def size_bytes(self) -> int:
        return sum(len(result.outputs) for _, result in self.results)


class DeliveryCall:
    """One call, used once."""

    def __init__(self, workshop: Workshop, deliveries: Sequence[pb.Delivery], arrived_unix_us: int) -> None:
        self._workshop, self._deliveries, self._arrived_unix_us = workshop, deliveries, arrived_unix_us
        self._items: list[_Item] = []
        self._known_before = 0
        self._waiting: dict[str, UnavailableError] = {}
        self._unstored = _Unstored()

    async def receipts(self) -> list[pb.DeliveryReceipt]:
        """Do all the work; one receipt per delivery, in order. Nothing is raised for a frame."""
        self._items = await self._workshop.in_thread(
            lambda: [self._opened(delivery) for delivery in self._deliveries]
        )
        mine = self._admit()
        try:
            await self._work()
        except UnavailableError as error:
            for item in self._items:
                if item.open:
                    item.refuse(error)
        finally:
            self._workshop.under_way -= mine
        return [item.receipt() for item in self._items]

    def _opened(self, delivery: pb.Delivery) -> _Item:
        try:
            frame = self._workshop.host.open_durable(delivery)
            return _Item(frame.key, frame)
        except Exception as error:
            item = _Item(key_of(delivery))
            item.refuse(self._as_ours(error, item.key))
            return item

    def _admit(self) -> set[ResultKey]:
        """Those that nobody works on already; another copy of one is told to come back, and what follows it too."""
        mine: set[ResultKey] = set()
        for item in self._items:
            if not item.open or self._held_back(item):
                continue
            if item.key in self._workshop.under_way:
                self._wait(item, OverloadedError("this frame is being computed", retry_after_s=TWICE_RETRY_S))
                continue
            mine.add(item.key)
            self._workshop.under_way.add(item.key)
        return mine

    async def _work(self) -> None:
        await self._look_up()
        await self._mark_repeats()
        for run in _runs([item for item in self._items if item.open], self._workshop.run_frames):
            await self._compute([item for item in run if not self._held_back(item)])
            if self._unstored.size_bytes > _MAX_UNSTORED_BYTES:
                await self._store()
        await self._store(last=True)

    async def _look_up(self) -> None:
        """Find those that are stored, and those that have ended a process: too often, and they are given up."""
        keys = [item.key for item in self._items if item.open]
        if not keys:
            return
        known = await self._workshop.ask_store(partial(self._workshop.store.look_up, keys))
        for item in self._items:
            if not item.open:
                continue
            marks = known.tries.get(item.key, 0)
            item.tries = 0 if item.key in self._workshop.marked else marks
            given_up = item.tries >= MAX_TRIES
            if marks and (given_up or item.key in known.stored):
                self._unstored.ended.add(item.key)
            if item.key in known.stored:
                item.outcome = pb.DELIVERY_OUTCOME_DUPLICATE
                self._known_before += 1
            elif given_up:
                log.error("frame given up", extra={"device": item.key.node, "sequence": item.key.sequence})
                item.refuse(PoisonError(f"{item.tries} times the process ended that computed this frame"))

    async def _mark_repeats(self) -> None:
        """Mark, together, those that come again and have no mark: their sender may have lost the process to one."""
        repeats = [
            item.key
            for item in self._items
            if item.open and item.frame is not None and item.frame.resends and not item.tries
        ]
        await self._mark([key for key in repeats if key not in self._workshop.marked])

    async def _mark(self, keys: Sequence[ResultKey]) -> None:
        if keys:
            await self._workshop.ask_store(partial(self._workshop.store.began, keys))
            self._workshop.marked.update(keys)

    async def _compute(self, run: Sequence[_Item]) -> None:
        frames = [item.frame for item in run if item.frame is not None]
        if not frames:
            return
        if run[0].tries:
            # What is done may not be lost with it.
            await self._store()
            await self._mark([run[0].key])
        answers = await self._workshop.compute([frame.sealed for frame in frames])
        outcomes = await self._workshop.in_thread(
            lambda: [self._result(frame, answer) for frame, answer in zip(frames, answers, strict=True)]
        )
        for item, outcome in zip(run, outcomes, strict=True):
            if item.key in self._workshop.marked:
                self._unstored.ended.add(item.key)
            if self._held_back(item):
                continue
            if isinstance(outcome, UnavailableError):
                self._wait(item, outcome)
            elif isinstance(outcome, TercetError):
                item.refuse(outcome)
            else:
                self._unstored.results.append((item, outcome))

    def _result(self, frame: DurableFrame, answer: bytes) -> Result | TercetError:
        try:
            return self._workshop.host.result_of(frame, answer, self._arrived_unix_us)
        except Exception as error:
            return self._as_ours(error, frame.key)

    async def _store(self, *, last: bool = False) -> None:
        """One transaction with what there is; with the last one go the counts of the call."""
        unstored, self._unstored = self._unstored, _Unstored()
        results = [result for _, result in unstored.results]
        counts = self._counts() if last else {}
        if not (results or unstored.ended or any(counts.values())):
            return
        record = partial(self._workshop.store.record, results, ended=unstored.ended, **counts)
        outcomes = await self._workshop.ask_store(record)
        self._workshop.marked -= unstored.ended
        for (item, _), stored in zip(unstored.results, outcomes, strict=True):
            item.outcome = pb.DELIVERY_OUTCOME_TAKEN if stored is Stored.NEW else pb.DELIVERY_OUTCOME_DUPLICATE

    def _counts(self) -> dict[str, int]:
        items = self._items
        return {
            "refused": sum(item.at_fault for item in items),
            "deduplicated": self._known_before,
            "redelivered": sum(item.frame is not None and item.frame.resends > 0 for item in items),
        }

    def _wait(self, item: _Item, error: UnavailableError) -> None:
        item.refuse(error)
        self._waiting.setdefault(item.key.node, error)

    def _held_back(self, item: _Item) -> bool:
        """Refuse a frame if an earlier one of its device must wait; says whether."""
        error = self._waiting.get(item.key.node)
        if error is None:
            return False
        item.refuse(
            OverloadedError(f"an earlier frame of {item.key.node} waits", retry_after_s=error.retry_after_s)
        )
        return True

    @staticmethod
    def _as_ours(error: Exception, key: ResultKey) -> TercetError:
        if isinstance(error, TercetError) and not isinstance(error, InvariantError):
            return error
        log.error("frame failed", extra={"device": key.node, "sequence": key.sequence}, exc_info=error)
        return (
            error if isinstance(error, TercetError) else InvariantError(f"internal error: {type(error).__name__}")
        )


def _runs(items: Iterable[_Item], run_frames: int) -> Iterator[list[_Item]]:
    """In order; a frame that may end the process is alone."""
    run: list[_Item] = []
    for item in items:
        if run and (item.tries or len(run) >= run_frames):
            yield run
            run = []
        run.append(item)
        if item.tries:
            yield run
            run = []
    if run:
        yield run
