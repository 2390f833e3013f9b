"""Asks a cloud what it serves."""

from __future__ import annotations

import grpc
import grpc.aio

from tercet.errors import LinkDownError, OverloadedError
from tercet.v1 import inference_pb2, inference_pb2_grpc


async def describe(host: str, port: int, *, timeout_s: float) -> inference_pb2.DescribeResponse:
    """What the cloud at HOST:PORT serves.

    Raises:
        LinkDownError: nobody answers in time.
        OverloadedError: the cloud is there and has no room.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            stub = inference_pb2_grpc.InferenceStub(channel)  # type: ignore[no-untyped-call]
            answer: inference_pb2.DescribeResponse = await stub.Describe(
                inference_pb2.DescribeRequest(), timeout=timeout_s
            )
            return answer
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise OverloadedError(f"the cloud at {target} has no room now: {error.details()}") from error
            raise LinkDownError(
                f"no cloud answers at {target} ({error.code().name}: {error.details()}); "
                "is `tercet cloud run` ready, and host and port right?"
            ) from error
