"""One message of durable frames and its receipt: what becomes of the frames in a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tercet.durable.batch_pace import BatchPace
from tercet.durable.bounds import Bounds
from tercet.durable.capture_clock import CaptureClock
from tercet.durable.hand_over import HandOver, Outgoing
from tercet.durable.journal import Journal
from tercet.durable.receipts import refused
from tercet.errors import DeadlineError, LinkDownError, OverloadedError, TensorContractError, UnavailableError
from tercet.v1 import delivery_pb2 as pb
from tercet.v1 import frame_pb2
from tercet.wire.messages import Frame

S = 1_000_000


def sealed(sequence: int) -> bytes:
    header = frame_pb2.FrameHeader(
        model="m@0", plan="p", node="cam-1", sequence=sequence, delivery=frame_pb2.DELIVERY_CLASS_DURABLE
    )
    return Frame(header, []).seal()


class Holder:
    """A next holder that takes what it is sent, unless told otherwise."""

    def __init__(self) -> None:
        self.requests: list[pb.DeliverRequest] = []
        self.timeouts_s: list[float] = []
        self.refusals: dict[int, BaseException] = {}
        self.fails: list[UnavailableError] = []

    async def send(self, request: pb.DeliverRequest, timeout_s: float) -> pb.DeliverResponse:
        self.requests.append(request)
        self.timeouts_s.append(timeout_s)
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop()
        return self.receipt(request)

    def receipt(self, request: pb.DeliverRequest) -> pb.DeliverResponse:
        response = pb.DeliverResponse(holder="edge-1", sent_unix_us=request.sent_unix_us, answered_unix_us=1)
        for delivery in request.deliveries:
            header = Frame.open(delivery.frame).header
            if error := self.refusals.get(header.sequence & 0xFFFFFFFF):
                response.receipts.append(refused(header.node, header.sequence, error))
            else:
                response.receipts.add(node=header.node, sequence=header.sequence, outcome=pb.DELIVERY_OUTCOME_TAKEN)
        return response

    def numbers(self, request: int = -1) -> list[int]:
        """Which frames a message had, counted from 1."""
        return [Frame.open(one.frame).header.sequence & 0xFFFFFFFF for one in self.requests[request].deliveries]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal.open(tmp_path / "outbox.db", Bounds()) as opened:
        yield opened


async def recorded(journal: Journal, clock: CaptureClock, count: int) -> list[Outgoing]:
    for _ in range(count):
        await journal.record(sealed, clock.now())
    return [Outgoing(entry, entry.sealed) for entry in await journal.pending(0, 1000, 1 << 20)]


def hand_over(journal: Journal, clock: CaptureClock) -> HandOver:
    return HandOver(journal, clock, BatchPace(0.25))


async def test_taken_frames_are_forgotten_and_the_rest_is_left_in_order(journal: Journal, tmp_path: Path) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 100)
    over, holder = hand_over(journal, clock), Holder()
    left = await over.offer(waiting, holder.send)
    sent = len(holder.requests[0].deliveries)
    assert 1 < sent < 100
    assert left == waiting[sent:]
    assert journal.load().frames == 100 - sent
    assert over.holder == "edge-1"
    while left:
        left = await over.offer(left, holder.send)
    assert [number for at in range(len(holder.requests)) for number in holder.numbers(at)] == list(range(1, 101))


async def test_without_a_receipt_everything_stays_and_is_sent_again(journal: Journal, tmp_path: Path) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 2)
    over, holder = hand_over(journal, clock), Holder()
    holder.fails = [LinkDownError("gone"), DeadlineError("late"), DeadlineError("late")]
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await over.offer(waiting, holder.send)
    assert journal.load().frames == 2
    assert await over.offer(waiting, holder.send) == []
    # Frames once, then empty messages until one is answered, then frames again, with more patience.
    assert [len(request.deliveries) for request in holder.requests] == [2, 0, 0, 0, 2]
    assert [delivery.resends for delivery in holder.requests[-1].deliveries] == [1, 1]
    assert holder.timeouts_s[-1] > holder.timeouts_s[0]
    assert max(holder.timeouts_s[1:4]) <= 2.5
    counters = journal.counters()
    assert (counters.sent, counters.redelivered, counters.acknowledged) == (4, 2, 2)


async def test_a_frame_at_fault_is_tried_so_often_and_the_others_go_on(journal: Journal, tmp_path: Path) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 3)
    over, holder = hand_over(journal, clock), Holder()
    holder.refusals = {2: TensorContractError("wrong")}
    tries = []
    while waiting:
        waiting = await over.offer(waiting, holder.send)
        tries.append(holder.numbers())
    assert tries == [[1, 2, 3], [2], [2]]
    assert journal.load().dead_letters == 1


async def test_who_can_take_none_now_is_no_fault_of_the_frames(journal: Journal, tmp_path: Path) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 2)
    over, holder = hand_over(journal, clock), Holder()
    holder.refusals = {number: OverloadedError("full", retry_after_s=3) for number in (1, 2)}
    for _ in range(5):
        with pytest.raises(OverloadedError) as full:
            await over.offer(waiting, holder.send)
        assert full.value.retry_after_s == 3
    holder.refusals = {2: OverloadedError("full")}
    assert await over.offer(waiting, holder.send) == waiting[1:]
    assert journal.load().dead_letters == 0


async def test_a_late_receipt_counts_while_its_frames_are_still_here(journal: Journal, tmp_path: Path) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 2)
    over, holder = hand_over(journal, clock), Holder()
    holder.fails = [DeadlineError("late")]
    with pytest.raises(DeadlineError):
        await over.offer(waiting, holder.send)
    late = holder.requests[0]
    assert over.awaits(late.sent_unix_us)

    async def answer_late(request: pb.DeliverRequest, timeout_s: float) -> pb.DeliverResponse:
        return holder.receipt(late)

    assert await over.offer(waiting, answer_late) == []
    assert not over.awaits(late.sent_unix_us)
    assert journal.load().frames == 0
    assert journal.counters().sent == 2


@pytest.mark.parametrize("wrong", ["another's", "none", "too many"])
async def test_a_receipt_for_something_else_is_none(journal: Journal, tmp_path: Path, wrong: str) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 2)
    over, holder = hand_over(journal, clock), Holder()

    async def send(request: pb.DeliverRequest, timeout_s: float) -> pb.DeliverResponse:
        response = holder.receipt(request)
        if wrong == "another's":
            response.sent_unix_us += 1
        elif wrong == "none":
            del response.receipts[:]
        else:
            response.receipts.append(response.receipts[0])
        return response

    with pytest.raises(UnavailableError):
        await over.offer(waiting, send)
    assert journal.load().frames == 2
    assert await over.offer(waiting, holder.send) == []


async def test_after_a_restart_clocks_are_compared_before_doubtful_ages_are_told(
    journal: Journal, tmp_path: Path
) -> None:
    now_us = 100 * S
    first = CaptureClock(tmp_path, boottime_us=lambda: now_us, boot="first")
    waiting = await recorded(journal, first, 1)
    first.learn("edge-1", first.ask(), 1_700_000_000 * S)
    second = CaptureClock(tmp_path, boottime_us=lambda: 20 * S, boot="second")
    over, holder = hand_over(journal, second), Holder()

    async def send(request: pb.DeliverRequest, timeout_s: float) -> pb.DeliverResponse:
        response = await holder.send(request, timeout_s)
        response.answered_unix_us = 1_700_003_600 * S
        return response

    assert await over.offer(waiting, send) == []
    assert [len(request.deliveries) for request in holder.requests] == [0, 1]
    (delivery,) = holder.requests[1].deliveries
    assert delivery.age_source == pb.AGE_SOURCE_COMPARED_CLOCK
    assert delivery.age_ms == 3_600_000


async def test_cancelled_in_between_frames_are_sent_again(journal: Journal, tmp_path: Path) -> None:
    clock = CaptureClock(tmp_path)
    waiting = await recorded(journal, clock, 2)
    over, holder = hand_over(journal, clock), Holder()

    async def never(request: pb.DeliverRequest, timeout_s: float) -> pb.DeliverResponse:
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(over.offer(waiting, never))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal.load().frames == 2
    assert await over.offer(waiting, holder.send) == []
