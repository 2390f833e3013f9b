"""A journal in a process of its own, to be killed: does what lines of JSON on stdin ask, many at once, and answers.

{"id": 1, "do": "take", "node": "a", "sequences": [1, 2], "size": 100}   → {"id": 1, "result": ["new", "new"]}
{"id": 2, "do": "record", "size": 100}                                   → the sequence
{"id": 3, "do": "hand_on", "positions": [1]}
{"id": 4, "do": "fail", "position": 2}                                   once it is dead
{"id": 5, "do": "look"}                                                  → all that is there, and the counters
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from support.durable_frames import STAMP, arrival, sealed
from tercet.durable.bounds import Bounds
from tercet.durable.dead_letters import DeadLetterBox
from tercet.durable.journal import Journal
from tercet.errors import SpecError

OWN = "own"
# More than kills that can meet a frame while it is tried.
MAX_TRIES = 20


def own_payload(sequence: int, size: int) -> bytes:
    return arrival(OWN, sequence, size).sealed[-size:]


def digest(frame: bytes) -> str:
    return hashlib.sha256(frame).hexdigest()


async def _do(journal: Journal, path: Path, asked: dict[str, Any]) -> Any:
    size = asked.get("size", 0)
    match asked["do"]:
        case "take":
            arrivals = [arrival(asked["node"], sequence, size) for sequence in asked["sequences"]]
            return [str(outcome) for outcome in await journal.take(arrivals)]
        case "record":
            return await journal.record(lambda number: sealed(OWN, number, own_payload(number, size)), STAMP)
        case "hand_on":
            await journal.began(asked["positions"])
            await journal.ended(asked["positions"])
            return await journal.handed_on(asked["positions"])
        case "fail":
            while not await journal.failed(asked["position"], SpecError("bad")):
                pass
            return True
    waiting = await journal.pending(0, 1_000_000, 1 << 40)
    with DeadLetterBox(path, read_only=True) as box:
        dead = [[letter.node, letter.sequence, digest(box.sealed(letter))] for letter in box.letters()]
    return {
        "waiting": [[entry.node, entry.sequence, digest(entry.sealed), entry.position] for entry in waiting],
        "dead": dead,
        "counters": journal.counters().as_dict(),
        "held": [journal.held().frames, journal.held().dead_letters],
    }


async def _serve(path: Path) -> None:
    async with (
        Journal.open(path, Bounds(), max_tries=MAX_TRIES, ballast_bytes=4096) as journal,
        asyncio.TaskGroup() as group,
    ):

        async def answer(asked: dict[str, Any]) -> None:
            result = await _do(journal, path, asked)
            os.write(1, json.dumps({"id": asked["id"], "result": result}).encode() + b"\n")

        while line := await asyncio.to_thread(sys.stdin.readline):
            group.create_task(answer(json.loads(line)))


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
