"""Bare echoes over the transports that Tercet uses, as processes of their own: the floor to compare with.

    python -m tercet_cloud.bench.echo grpc PORT BYTES
    python -m tercet_cloud.bench.echo mqtt BROKER_PORT BYTES

Each answers every request with BYTES bytes until it is terminated, and prints "ready" once it does.
"""

from __future__ import annotations

import asyncio
import sys

import aiomqtt
import grpc.aio

from tercet.v1 import inference_pb2, inference_pb2_grpc

REQUEST_TOPIC, ANSWER_TOPIC = "bench/request", "bench/answer"


class EchoService(inference_pb2_grpc.InferenceServicer):
    """Infer without inference."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def Infer(  # noqa: N802
        self, request: inference_pb2.InferRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> inference_pb2.InferResponse:
        return inference_pb2.InferResponse(answer=self._answer)


async def serve_grpc(port: int, answer_bytes: int) -> None:
    server = grpc.aio.server()
    inference_pb2_grpc.add_InferenceServicer_to_server(EchoService(bytes(answer_bytes)), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


async def serve_mqtt(broker_port: int, answer_bytes: int) -> None:
    answer = bytes(answer_bytes)
    async with aiomqtt.Client("127.0.0.1", broker_port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(REQUEST_TOPIC)
        print("ready", flush=True)
        async for _ in client.messages:
            await client.publish(ANSWER_TOPIC, answer)


def main() -> None:
    kind, port, answer_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    asyncio.run((serve_grpc if kind == "grpc" else serve_mqtt)(port, answer_bytes))


if __name__ == "__main__":
    main()
