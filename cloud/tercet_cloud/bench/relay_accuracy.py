"""`tercet bench relay`: how truly emulated links keep to what they are told."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from statistics import median

from rich.console import Console
from rich.table import Table

from tercet_cloud.emulation.link_condition import LinkCondition
from tercet_cloud.emulation.relay_process import RelayProcess

MBPS = (1.0, 8.0, 30.0, 100.0)
ROUND_TRIPS_MS = (0.0, 20.0, 200.0)
SIZES_BYTES = (1_000, 20_000, 150_000)
REPEATS = 5
EXCHANGE_S = 30.0
_HEAD = struct.Struct("<II")


def bench_relay(as_json: bool) -> None:
    """Measure and print."""
    rows = asyncio.run(measure_relay())
    late_ms = sorted(row["late_ms"] for row in rows)
    summary = {"median_late_ms": median(late_ms), "worst_late_ms": late_ms[-1]}
    if as_json:
        print(json.dumps({"command": "tercet bench relay", "rows": rows, **summary}, indent=2))
        return
    table = Table(
        title="Exchanges over an emulated link: what it was told, and how much later it was", title_justify="left"
    )
    headings = ("Mbit/s", "round trip ms", "bytes up", "told ms", "late ms", "without relay ms")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        cells = (row["mbps"], row["round_trip_ms"], row["bytes"])
        times = (row["told_ms"], row["late_ms"], row["direct_ms"])
        table.add_row(*(f"{cell:g}" for cell in cells), *(f"{time_ms:.2f}" for time_ms in times))
    console = Console()
    console.print(table)
    console.print(f"late, both ways together: median {median(late_ms):.2f} ms, worst {late_ms[-1]:.2f} ms")


async def measure_relay(repeats: int = REPEATS) -> list[dict[str, float]]:
    """Exchanges over loopback: so many bytes up, a small answer down, one after another; a row a setting.

    `late_ms` is the median time beyond what the link was told, relay, sockets and both ends included; `direct_ms`
    is the same exchange without a relay.
    """
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rows = []
    try:
        async with RelayProcess() as relay:
            through = await relay.open("link", port, LinkCondition())
            for mbps in MBPS:
                for round_trip_ms in ROUND_TRIPS_MS:
                    await relay.change("link", LinkCondition.symmetric(mbps, round_trip_ms))
                    for size_bytes in SIZES_BYTES:
                        told_ms = (size_bytes + 2 * _HEAD.size) * 8e-3 / mbps + round_trip_ms
                        direct_ms = await _exchange(port, size_bytes, repeats)
                        took_ms = await _exchange(through, size_bytes, repeats)
                        rows.append(
                            {
                                "mbps": mbps,
                                "round_trip_ms": round_trip_ms,
                                "bytes": size_bytes,
                                "told_ms": round(told_ms, 3),
                                "direct_ms": round(direct_ms, 3),
                                "late_ms": round(took_ms - told_ms, 3),
                            }
                        )
    finally:
        server.close()
        await server.wait_closed()
    return rows


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            (size_bytes, number) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
            await reader.readexactly(size_bytes)
            writer.write(_HEAD.pack(0, number))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _exchange(port: int, size_bytes: int, repeats: int) -> float:
    """Median ms from sending to having the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times_ms = []
    try:
        async with asyncio.timeout(EXCHANGE_S):
            for number in range(repeats):
                began_s = time.perf_counter()
                writer.write(_HEAD.pack(size_bytes, number) + bytes(size_bytes))
                await reader.readexactly(_HEAD.size)
                times_ms.append((time.perf_counter() - began_s) * 1000)
    finally:
        writer.close()
    return median(times_ms)
