"""What is known of a run: lines that devices wrote, the journals and the result store on disk, read while they run.

Files are read, not processes asked: a killed process answers nothing, and what counts is what its disk holds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chaos.ledger import Acknowledged, FrameKey, Stored
from chaos.model import Album
from chaos.service_gap import RealtimeFrame
from tercet.wire.messages import Answer

BUSY_S = 10.0


@dataclass(frozen=True)
class DeviceLines:
    """What a device's application was told of durable frames."""

    acknowledged: tuple[Acknowledged, ...]
    refused: int
    # When the application was told, by the machine's monotonic clock, and how long it had waited.
    told_s: Mapping[FrameKey, float] = field(default_factory=dict)
    waited_s: Mapping[FrameKey, float] = field(default_factory=dict)

    @property
    def offered(self) -> int:
        return len(self.acknowledged) + self.refused


@dataclass(frozen=True)
class Holder:
    """A journal on disk: what it holds, what it counts, and its dead letters."""

    held: int
    counters: Mapping[str, int]
    dead: tuple[FrameKey, ...]

    @property
    def unbalanced(self) -> str:
        """What does not add up among its counters; empty if all does."""
        known = {"acknowledged", "expired"}
        settled = self.held + len(self.dead) + sum(self.counters.get(name, 0) for name in known)
        taken = self.counters.get("taken", settled)
        return "" if taken == settled else f"{taken} frames taken, but {settled} accounted for"


EMPTY = Holder(0, {}, ())


@dataclass(frozen=True)
class StoreTallies:
    """What the result store counts, over all its life."""

    deduplicated: int = 0
    out_of_order: int = 0
    expired: int = 0


def device_lines(path: Path) -> DeviceLines:
    """The durable lines of a results file; a last line that a kill cut short was never written."""
    acknowledged, refused = [], 0
    told_s, waited_s = {}, {}
    for record in _records(path):
        if record.get("delivery") != "durable":
            continue
        if record.get("acknowledged"):
            key = FrameKey(record["node"], record["sequence"])
            told_s[key], waited_s[key] = record["ended_s"], record["latency_ms"] / 1000
            # A source may be a link to a photo that several seeds share.
            acknowledged.append(Acknowledged(key, str(Path(record["source"]).resolve())))
        else:
            refused += 1
    return DeviceLines(tuple(acknowledged), refused, told_s, waited_s)


class RealtimeLog:
    """The realtime frames of one device, read as its results file grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        self._frames: list[RealtimeFrame] = []

    def since(self, from_s: float) -> list[RealtimeFrame]:
        """Those that began at `from_s` of the machine's monotonic clock, or later."""
        self._read_on()
        return [frame for frame in self._frames if frame.started_s >= from_s]

    def begin_anew(self) -> None:
        """The device has ended, and its file will be a new one when it is started again."""
        self._read_on()
        self._read_bytes = 0
        self._path.unlink(missing_ok=True)

    def _read_on(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                self._frames.append(_realtime_frame(json.loads(line)))


def _realtime_frame(record: dict[str, Any]) -> RealtimeFrame:
    return RealtimeFrame(
        record["ended_s"] - record["latency_ms"] / 1000,
        record["ended_s"],
        degraded=bool(record["degraded"]),
        failed=record["error"] is not None,
        reason=record["error"] or record["reason"],
    )


def stored_results(database: Path, nodes: tuple[str, ...], album: Album) -> list[Stored]:
    """Results of some devices in the order in which they were stored, told apart by what is in them."""
    if not _made(database):
        return []
    places = ",".join("?" * len(nodes))
    with _reading(database) as connection:
        rows = connection.execute(
            f"SELECT node, sequence, outputs, late FROM tercet_results WHERE node IN ({places}) ORDER BY position",
            nodes,
        ).fetchall()
    results = []
    for node, sequence, outputs, late in rows:
        scores = np.asarray(Answer.open(outputs).outputs()["scores"], np.float32)[0]
        results.append(Stored(FrameKey(node, sequence), album.source_of(scores), late=bool(late)))
    return results


def store_tallies(database: Path) -> StoreTallies:
    """What the result store has counted."""
    if not _made(database):
        return StoreTallies()
    with _reading(database) as connection:
        row = connection.execute("SELECT deduplicated, out_of_order, expired FROM tercet_result_tallies").fetchone()
    return StoreTallies(*row)


def captured_at(database: Path, nodes: tuple[str, ...]) -> dict[FrameKey, tuple[int, str]]:
    """When frames were captured, in microseconds since 1970, and how the store says that this is known."""
    if not _made(database):
        return {}
    places = ",".join("?" * len(nodes))
    with _reading(database) as connection:
        rows = connection.execute(
            f"SELECT node, sequence, captured_unix_us, age_source FROM tercet_results WHERE node IN ({places})",
            nodes,
        ).fetchall()
    return {FrameKey(node, sequence): (captured_us, source) for node, sequence, captured_us, source in rows}


def count_stored(database: Path, nodes: tuple[str, ...]) -> int:
    """How many results of some devices are in the store."""
    if not _made(database):
        return 0
    places = ",".join("?" * len(nodes))
    with _reading(database) as connection:
        (count,) = connection.execute(
            f"SELECT count(*) FROM tercet_results WHERE node IN ({places})", nodes
        ).fetchone()
    return int(count)


def journal_state(database: Path) -> Holder:
    """What a device's outbox or an edge's journal is like now."""
    if not database.exists():
        return EMPTY
    with _reading(database) as connection:
        connection.execute("BEGIN")
        (held,) = connection.execute("SELECT count(*) FROM frames").fetchone()
        dead = connection.execute("SELECT node, sequence FROM dead_letters").fetchall()
        counters = dict(connection.execute("SELECT name, value FROM counters").fetchall())
    return Holder(int(held), counters, tuple(FrameKey(node, sequence) for node, sequence in dead))


def expired_frames(log: Path) -> list[FrameKey]:
    """Durable frames that a holder's log says it gave up; of very many at once it names the first."""
    if not log.exists():
        return []
    frames = []
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if " frames expired " not in line:
                continue
            for run in line.partition(" which=")[2].split():
                node, named, numbers = run.rpartition("/")
                if not named:
                    continue
                first, _, last = numbers.partition("-")
                frames += [FrameKey(node, number) for number in range(int(first), int(last or first) + 1)]
    return frames


def _records(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
        yield connection


def _made(database: Path) -> bool:
    """Whether the store's tables are there yet: a file is there before them."""
    if not database.exists():
        return False
    with _reading(database) as connection:
        query = "SELECT count(*) FROM sqlite_master WHERE name = 'tercet_result_tallies'"
        return bool(connection.execute(query).fetchone()[0])
