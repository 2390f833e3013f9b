"""Takes durable frames for one process: bounds what is under way, and answers each call with its receipts.

A plain class, so that Serve's replica and a bare gRPC server take them alike; `delivery_call` has what is done with
the frames of a call. Work goes on when the caller has left, so that a repeat after a time-out finds its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tercet.errors import ContractError, FrameTooLargeError, OverloadedError, TercetError
from tercet.limits import MAX_CALL_FRAMES, MAX_FRAME_BYTES, MIB
from tercet.v1 import delivery_pb2 as pb
from tercet.wall_clock import REAL_CLOCK
from tercet.wire.messages import detail_from_error
from tercet_cloud.results.store import ResultStore
from tercet_cloud.serving.delivery_call import DeliveryCall
from tercet_cloud.serving.model_host import ModelHost
from tercet_cloud.serving.workshop import Compute, Workshop

FULL_RETRY_S = 0.5
MAX_HELD_BYTES = 2 * MAX_FRAME_BYTES


class DeliveryDesk:
    """Takes deliveries, in one event loop.

    Args:
        compute, run_frames: see `Workshop`.
        max_frames, max_calls: what may be under way; a call beyond is refused until later.
    """

    def __init__(
        self,
        host: ModelHost,
        store: ResultStore,
        compute: Compute,
        *,
        run_frames: int = 4,
        max_frames: int = 512,
        max_calls: int = 4,
    ) -> None:
        self._node = host.node
        self._workshop = Workshop(host, store, compute, run_frames)
        self._max_frames, self._max_calls = max_frames, max_calls
        self._held_frames = self._held_bytes = 0
        self._calls: set[asyncio.Task[list[pb.DeliveryReceipt]]] = set()

    async def deliver(self, request: pb.DeliverRequest) -> pb.DeliverResponse:
        """One receipt per delivery, in order; nameless ones if there is no room, one for a call over the limits.

        If cancelled, what was begun is finished all the same.
        """
        arrived_unix_us = REAL_CLOCK.now_us()
        deliveries = list(request.deliveries)
        if over := _over_limits(deliveries):
            receipts = [_refusal(over)]
        elif full := self._no_room(deliveries):
            receipts = [_refusal(full)] * len(deliveries)
        else:
            receipts = await self._taken(deliveries, arrived_unix_us)
        return pb.DeliverResponse(
            receipts=receipts,
            holder=self._node,
            sent_unix_us=request.sent_unix_us,
            answered_unix_us=REAL_CLOCK.now_us(),
        )

    async def _taken(self, deliveries: Sequence[pb.Delivery], arrived_unix_us: int) -> list[pb.DeliveryReceipt]:
        call = asyncio.create_task(self._take(deliveries, arrived_unix_us))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def _take(self, deliveries: Sequence[pb.Delivery], arrived_unix_us: int) -> list[pb.DeliveryReceipt]:
        size_bytes = _size_bytes(deliveries)
        self._held_frames += len(deliveries)
        self._held_bytes += size_bytes
        try:
            return await DeliveryCall(self._workshop, deliveries, arrived_unix_us).receipts()
        finally:
            self._held_frames -= len(deliveries)
            self._held_bytes -= size_bytes

    def _no_room(self, deliveries: Sequence[pb.Delivery]) -> OverloadedError | None:
        """The refusal of a call for which there is no room now. An only call is never refused."""
        if self._calls and (
            len(self._calls) >= self._max_calls
            or self._held_frames + len(deliveries) > self._max_frames
            or self._held_bytes + _size_bytes(deliveries) > MAX_HELD_BYTES
        ):
            return OverloadedError("the cloud is busy with other durable frames", retry_after_s=FULL_RETRY_S)
        return None


def _refusal(error: TercetError) -> pb.DeliveryReceipt:
    return pb.DeliveryReceipt(outcome=pb.DELIVERY_OUTCOME_REFUSED, error=detail_from_error(error))


def _over_limits(deliveries: Sequence[pb.Delivery]) -> ContractError | None:
    """Why a call is refused as a whole for ever."""
    if len(deliveries) > MAX_CALL_FRAMES:
        return ContractError(f"a call delivers at most {MAX_CALL_FRAMES} frames, this one {len(deliveries)}")
    size_bytes = _size_bytes(deliveries)
    if len(deliveries) > 1 and size_bytes > MAX_FRAME_BYTES:
        return FrameTooLargeError(
            f"a call of {size_bytes / MIB:.1f} MiB is over the {MAX_FRAME_BYTES / MIB:.1f} MiB limit"
        )
    return None


def _size_bytes(deliveries: Sequence[pb.Delivery]) -> int:
    return sum(len(delivery.frame) for delivery in deliveries)
