"""Light devices that deliver durable frames as fast as an edge acknowledges them, as a process of their own.

    python -m tercet_cloud.bench.durable_callers HOST:PORT FRAME_FILE DEVICES SECONDS FRAMES

Each device has one message of FRAMES frames under way. They have no outbox: what an edge does is measured, not its
devices' disks. Prints one line of JSON, a `tercet.closed_loop.Load` of messages.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tercet.closed_loop import Load, run_callers
from tercet.durable.receipts import parse_response
from tercet.errors import DeadlineError
from tercet.file_limit import raise_file_limit
from tercet.identifiers import NodeId
from tercet.v1 import delivery_pb2 as pb
from tercet.wire.messages import Frame
from tercet_cloud.bench.light_client import LightClient
from tercet_cloud.stack.local_stack import FLEET

TIMEOUT_S = 10.0
_DONE = (pb.DELIVERY_OUTCOME_TAKEN, pb.DELIVERY_OUTCOME_DUPLICATE)


class LightDevice:
    """One device: numbers its frames, and waits for each message's receipt."""

    def __init__(self, number: int, frame: Frame) -> None:
        self.node = NodeId(f"light-{number}")
        self._frame = frame
        self._sequence = 0
        self._receipt: asyncio.Future[bytes] | None = None
        self._client: LightClient | None = None

    async def connect(self, host: str, port: int) -> None:
        self._client = await LightClient.connect(host, port, self.node, FLEET, self._on_receipt, durable=True)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def deliver(self, frames: int, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether so many new frames were acknowledged."""
        if self._client is None:
            return False
        request = pb.DeliverRequest(sent_unix_us=1)
        for _ in range(frames):
            self._sequence += 1
            self._frame.header.node, self._frame.header.sequence = self.node, self._sequence
            request.deliveries.add(frame=self._frame.seal(), age_source=pb.AGE_SOURCE_MONOTONIC)
        self._receipt = asyncio.get_running_loop().create_future()
        self._client.publish(b"", request.SerializeToString())
        try:
            async with asyncio.timeout(timeout_s):
                response = parse_response(await self._receipt)
        except TimeoutError:
            return False
        return len(response.receipts) == frames and all(one.outcome in _DONE for one in response.receipts)

    def _on_receipt(self, correlation: bytes, payload: bytes) -> None:
        if self._receipt is not None and not self._receipt.done():
            self._receipt.set_result(payload)


async def load_durable(address: str, sealed: bytes, devices: int, seconds: float, frames: int) -> Load:
    """Messages that were acknowledged, and how long each took."""
    host, _, port = address.rpartition(":")
    raise_file_limit()
    callers = [LightDevice(number, Frame.open(sealed)) for number in range(devices)]
    try:
        try:
            await asyncio.gather(*(caller.connect(host, int(port)) for caller in callers))
        except TimeoutError as error:
            raise DeadlineError(f"the broker at {address} does not take {devices} connections") from error
        return await run_callers(devices, seconds, lambda number: callers[number].deliver(frames))
    finally:
        for caller in callers:
            caller.close()


def main() -> None:
    address, file, devices, seconds, frames = sys.argv[1:]
    what = (Path(file).read_bytes(), int(devices), float(seconds), int(frames))
    print(asyncio.run(load_durable(address, *what)).to_json())


if __name__ == "__main__":
    main()
