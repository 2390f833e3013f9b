"""One address of the cloud: a gRPC channel, whose failures become Tercet's errors. Every call has a deadline.

gRPC keeps a connection as long as its socket does not complain, and a half-open one does not. So a channel that is
found not to carry answers is replaced; calls under way on the old one end by their own deadlines.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
import grpc.aio

from tercet.errors import (
    ContractError,
    DeadlineError,
    FrameTooLargeError,
    InvariantError,
    LinkDownError,
    NotFoundError,
    OverloadedError,
    TercetError,
)
from tercet.limits import MAX_FRAME_BYTES
from tercet.v1 import delivery_pb2, inference_pb2, inference_pb2_grpc
from tercet.wire.messages import Answer

# gRPC's own default of 4 MB would refuse what the frame limit allows.
_MESSAGE_BYTES = MAX_FRAME_BYTES + 65536
# What the other side's system does not take within this long is given up by ours (TCP_USER_TIMEOUT).
UNACKNOWLEDGED_MS = 4000
_OPTIONS = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Also what a connection attempt may take; by default twenty seconds.
    ("grpc.min_reconnect_backoff_ms", 2000),
    # gRPC sets the socket's timeout only together with pings. Servers end connections that ping more often than
    # every five minutes without a call, so they are left at an hour: `probe` asks instead.
    ("grpc.keepalive_time_ms", 3_600_000),
    ("grpc.keepalive_timeout_ms", UNACKNOWLEDGED_MS),
    # Channels to one address share a connection otherwise: a fresh one would get the dead one's.
    ("grpc.use_local_subchannel_pool", 1),
)
ResponseT = TypeVar("ResponseT")
RETRY_AFTER_S = 0.1


class _Line:
    """One channel, and how many calls are under way on it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.stub = inference_pb2_grpc.InferenceStub(self.channel)  # type: ignore[no-untyped-call]
        self.under_way = 0


class CloudLink:
    """Safe for concurrent calls of one event loop.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._line = _Line(address)
        self._leaving: set[_Line] = set()
        self.heard_s = time.monotonic()
        self.renewals = 0

    @property
    def under_way(self) -> int:
        """Calls that wait for an answer."""
        return self._line.under_way + sum(line.under_way for line in self._leaving)

    async def ask(self, frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        """One sealed answer per frame, refusals included, or empty for a frame to be sent again alone.

        Raises:
            UnavailableError: no answer in time, no cloud, or one that is overloaded.
            ContractError: the cloud cannot read the request, or answers what it was not asked.
        """
        if len(frames) == 1:
            request = inference_pb2.InferRequest(frame=frames[0])
            one = await self._call(lambda stub: stub.Infer(request, timeout=timeout_s), timeout_s)
            return [one.answer]
        several = inference_pb2.InferManyRequest(frames=frames)
        answers = list(
            (await self._call(lambda stub: stub.InferMany(several, timeout=timeout_s), timeout_s)).answers
        )
        if len(answers) == 1 and (refusal := Answer.open(answers[0]).refusal):
            raise refusal
        return answers

    async def replan(self, request: inference_pb2.ReplanRequest, timeout_s: float) -> Answer:
        """The answer with a plan table, or the cloud's refusal. Raises as `ask`."""
        response = await self._call(lambda stub: stub.Replan(request, timeout=timeout_s), timeout_s)
        return Answer.open(response.answer)

    async def deliver(self, request: delivery_pb2.DeliverRequest, timeout_s: float) -> delivery_pb2.DeliverResponse:
        """Receipts for durable frames. Raises as `ask`."""
        return await self._call(lambda stub: stub.Deliver(request, timeout=timeout_s), timeout_s)

    async def probe(self, timeout_s: float) -> None:
        """Return if the cloud says anything at all, a refusal included. Raises LinkDownError, DeadlineError."""
        request = inference_pb2.DescribeRequest()
        try:
            await self._call(lambda stub: stub.Describe(request, timeout=timeout_s), timeout_s)
        except (LinkDownError, DeadlineError):
            raise
        except TercetError:
            return

    async def renew(self) -> None:
        """Make later calls on a fresh connection. Calls under way keep theirs until they end."""
        old, self._line = self._line, _Line(self.address)
        self.renewals += 1
        self._leaving.add(old)
        await self._close_idle()

    async def aclose(self) -> None:
        for line in (self._line, *self._leaving):
            await line.channel.close()

    async def _call(
        self, call: Callable[[inference_pb2_grpc.InferenceStub], Awaitable[ResponseT]], timeout_s: float
    ) -> ResponseT:
        line = self._line
        line.under_way += 1
        try:
            response = await call(line.stub)
        except grpc.aio.AioRpcError as error:
            translated = self._translate(error, timeout_s)
            if not isinstance(translated, (LinkDownError, DeadlineError)):
                self.heard_s = time.monotonic()
            raise translated from error
        finally:
            line.under_way -= 1
            if self._leaving:
                await self._close_idle()
        self.heard_s = time.monotonic()
        return response

    async def _close_idle(self) -> None:
        idle = {line for line in self._leaving if not line.under_way}
        self._leaving -= idle
        for line in idle:
            await line.channel.close()

    def _translate(self, error: grpc.aio.AioRpcError, timeout_s: float) -> TercetError:
        text = f"cloud {self.address}: {error.details() or error.code().name}"
        match error.code():
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return DeadlineError(f"cloud {self.address} did not answer within {timeout_s:.3g} s")
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return OverloadedError(text, retry_after_s=RETRY_AFTER_S)
            case grpc.StatusCode.OUT_OF_RANGE:
                return FrameTooLargeError(text)
            case grpc.StatusCode.UNIMPLEMENTED:
                return NotFoundError(f"cloud {self.address} is of a version that does not know this call")
            case grpc.StatusCode.INVALID_ARGUMENT:
                return ContractError(text)
            case grpc.StatusCode.NOT_FOUND:
                # Not of a frame, whose refusals are answers: Ray Serve says so while it comes up again.
                return LinkDownError(text)
            case grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN | grpc.StatusCode.UNAVAILABLE:
                # A proxy between us and a dying replica speaks of internal errors: worth another try.
                return LinkDownError(text)
            case _:
                return InvariantError(text)
