"""What callers saw, as rows."""

from __future__ import annotations

import asyncio
import math

from tercet.closed_loop import Load, run_callers, summarise


async def test_failed_calls_are_not_answers() -> None:
    async def call(number: int) -> bool:
        await asyncio.sleep(0.005)
        return number == 0

    load = await run_callers(2, 0.2, call)
    assert load.latencies_ms
    assert load.failed > 0
    assert min(load.latencies_ms) >= 5


def test_rounds_add_up_to_one_row() -> None:
    row = summarise([Load(1, 2.0, 1, 0.5, [1.0, 3.0]), Load(1, 2.0, 0, 0.5, [2.0, 2.0])])
    assert (row["per_s"], row["mean_ms"], row["failed"], row["callers_cores"]) == (1.0, 2.0, 1, 0.25)


def test_no_answer_at_all_is_no_latency_rather_than_a_good_one() -> None:
    assert math.isnan(summarise([Load(1, 1.0, 3, 0.1, [])])["p99_ms"])


def test_a_load_survives_the_way_between_processes() -> None:
    load = Load(3, 1.5, 2, 0.25, [0.5, 1.25])
    assert Load.from_json(load.to_json()) == load
