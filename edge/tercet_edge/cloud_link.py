"""One address of the cloud: a gRPC channel, whose failures become Tercet's errors. Every call has a deadline."""

from __future__ import annotations

from collections.abc import Sequence

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
_OPTIONS = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
RETRY_AFTER_S = 0.1


class CloudLink:
    """Safe for concurrent calls of one event loop.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = inference_pb2_grpc.InferenceStub(self._channel)  # type: ignore[no-untyped-call]

    async def ask(self, frames: Sequence[bytes], timeout_s: float) -> list[bytes]:
        """One sealed answer per frame, refusals included, or empty for a frame to be sent again alone.

        Raises:
            UnavailableError: no answer in time, no cloud, or one that is overloaded.
            ContractError: the cloud cannot read the request, or answers what it was not asked.
        """
        try:
            if len(frames) == 1:
                one = await self._stub.Infer(inference_pb2.InferRequest(frame=frames[0]), timeout=timeout_s)
                return [one.answer]
            request = inference_pb2.InferManyRequest(frames=frames)
            answers = list((await self._stub.InferMany(request, timeout=timeout_s)).answers)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error, timeout_s) from error
        if len(answers) == 1 and (refusal := Answer.open(answers[0]).refusal):
            raise refusal
        return answers

    async def replan(self, request: inference_pb2.ReplanRequest, timeout_s: float) -> Answer:
        """The answer with a plan table, or the cloud's refusal. Raises as `ask`."""
        try:
            response = await self._stub.Replan(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error, timeout_s) from error
        return Answer.open(response.answer)

    async def deliver(self, request: delivery_pb2.DeliverRequest, timeout_s: float) -> delivery_pb2.DeliverResponse:
        """Receipts for durable frames. Raises as `ask`."""
        try:
            response: delivery_pb2.DeliverResponse = await self._stub.Deliver(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error, timeout_s) from error
        return response

    async def aclose(self) -> None:
        await self._channel.close()

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
            case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.NOT_FOUND:
                return ContractError(text)
            case grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN | grpc.StatusCode.UNAVAILABLE:
                # A proxy between us and a dying replica speaks of internal errors: worth another try.
                return LinkDownError(text)
            case _:
                return InvariantError(text)
