"""A gRPC server that keeps durable frames as a cloud's result store does, as far as edges can tell: in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from tercet.durable.receipts import refused
from tercet.errors import TercetError
from tercet.limits import MAX_FRAME_BYTES
from tercet.v1 import delivery_pb2 as pb
from tercet.v1 import inference_pb2_grpc
from tercet.wire.messages import Frame

Refuse = Callable[[Frame], TercetError | None]


@dataclass(frozen=True)
class Stored:
    """One effect: a frame, and when it was captured by this server's clock."""

    frame: Frame
    captured_s: float
    age_source: int
    resends: int


@dataclass
class DeliveryStore(inference_pb2_grpc.InferenceServicer):
    """Stores each (node, sequence) once, in the order of arrival.

    `delay_s` before each receipt. `silent`: stores, but gives no receipt. `refuse` says why a frame is refused.
    """

    address: str = ""
    delay_s: float = 0.0
    silent: bool = False
    refuse: Refuse = lambda frame: None
    stored: dict[tuple[str, int], Stored] = field(default_factory=dict)
    calls: int = 0
    duplicates: int = 0

    async def Deliver(  # noqa: N802
        self, request: pb.DeliverRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.DeliverResponse:
        self.calls += 1
        receipts = [self._receipt(delivery) for delivery in request.deliveries]
        await asyncio.sleep(60 if self.silent else self.delay_s)
        return pb.DeliverResponse(
            receipts=receipts,
            holder="store",
            sent_unix_us=request.sent_unix_us,
            answered_unix_us=time.time_ns() // 1000,
        )

    def of(self, node: str) -> list[int]:
        """The sequences of a node's frames in the order they were stored."""
        return [sequence for owner, sequence in self.stored if owner == node]

    async def wait_stored(self, count: int, within_s: float = 15.0) -> None:
        """Until so many frames are stored."""
        async with asyncio.timeout(within_s):
            while len(self.stored) < count:
                await asyncio.sleep(0.01)

    def _receipt(self, delivery: pb.Delivery) -> pb.DeliveryReceipt:
        frame = Frame.open(delivery.frame)
        name = (frame.header.node, frame.header.sequence)
        if error := self.refuse(frame):
            return refused(*name, error)
        outcome = pb.DELIVERY_OUTCOME_TAKEN
        if name in self.stored:
            self.duplicates += 1
            outcome = pb.DELIVERY_OUTCOME_DUPLICATE
        else:
            captured_s = time.time() - delivery.age_ms / 1000
            self.stored[name] = Stored(frame, captured_s, delivery.age_source, delivery.resends)
        return pb.DeliveryReceipt(node=name[0], sequence=name[1], outcome=outcome)


@asynccontextmanager
async def delivery_store(port: int = 0, store: DeliveryStore | None = None) -> AsyncIterator[DeliveryStore]:
    """Serve on a loopback port while entered; `store` is one from before, with all it holds."""
    message_bytes = MAX_FRAME_BYTES + 65536
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_send_message_length", message_bytes),
            ("grpc.so_reuseport", 0),
        ]
    )
    served = store or DeliveryStore()
    inference_pb2_grpc.add_InferenceServicer_to_server(served, server)  # type: ignore[no-untyped-call]
    served.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield served
    finally:
        await server.stop(grace=None)
