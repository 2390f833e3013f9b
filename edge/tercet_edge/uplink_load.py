"""How many frames a second an uplink carries, as a process of its own; `tercet bench serve` runs it.

    python -m tercet_edge.uplink_load ADDRESS FRAME_FILE CALLERS SECONDS CALL_FRAMES

Prints one line of JSON, a `tercet.closed_loop.Load`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tercet.closed_loop import Load, run_callers
from tercet.errors import UnavailableError
from tercet_edge.uplink import Uplink

TIMEOUT_S = 10.0


async def load_uplink(address: str, sealed: bytes, callers: int, seconds: float, call_frames: int) -> Load:
    """Concurrent callers that send the same frame over one uplink."""
    async with Uplink([address], max_call_frames=call_frames) as uplink:

        async def call(_: int) -> bool:
            try:
                answer = await uplink.infer(sealed, TIMEOUT_S)
            except UnavailableError:
                return False
            return not answer.header.HasField("error")

        return await run_callers(callers, seconds, call)


def main() -> None:
    address, file, callers, seconds, call_frames = sys.argv[1:]
    load = load_uplink(address, Path(file).read_bytes(), int(callers), float(seconds), int(call_frames))
    print(asyncio.run(load).to_json())


if __name__ == "__main__":
    main()
