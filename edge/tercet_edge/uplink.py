"""The edge's gRPC channel to the cloud. Every call has a deadline; failures become Tercet's errors."""

from __future__ import annotations

from types import TracebackType

import grpc
import grpc.aio

from tercet.errors import (
    ContractError,
    DeadlineError,
    FrameTooLargeError,
    InvariantError,
    LinkDownError,
    OverloadedError,
    TercetError,
)
from tercet.limits import MAX_FRAME_BYTES
from tercet.v1 import inference_pb2, inference_pb2_grpc
from tercet.wire.messages import Answer

# gRPC's own default of 4 MB would refuse what the frame limit allows.
_MESSAGE_BYTES = MAX_FRAME_BYTES + 65536
_OPTIONS = (
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


class Uplink:
    """Use as an async context manager. Safe for concurrent calls.

    Args:
        address: HOST:PORT of the cloud.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = inference_pb2_grpc.InferenceStub(self._channel)  # type: ignore[no-untyped-call]

    async def infer(self, sealed_frame: bytes, timeout_s: float) -> Answer:
        """The cloud's answer, refusals included.

        Raises:
            UnavailableError: no answer in time, or no cloud.
            ContractError: the cloud cannot read the request.
        """
        try:
            response = await self._stub.Infer(inference_pb2.InferRequest(frame=sealed_frame), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise self._translate(error, timeout_s) from error
        return Answer.open(response.answer)

    def _translate(self, error: grpc.aio.AioRpcError, timeout_s: float) -> TercetError:
        text = f"cloud {self.address}: {error.details() or error.code().name}"
        match error.code():
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return DeadlineError(f"cloud {self.address} did not answer within {timeout_s:.3g} s")
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return OverloadedError(text)
            case grpc.StatusCode.OUT_OF_RANGE:
                return FrameTooLargeError(text)
            case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.NOT_FOUND:
                return ContractError(text)
            case grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN | grpc.StatusCode.UNAVAILABLE:
                # A proxy between us and a dying replica speaks of internal errors: worth another try.
                return LinkDownError(text)
            case _:
                return InvariantError(text)

    async def __aenter__(self) -> Uplink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()
