"""What happened to durable frames at one holder, as numbers that survive it, and as metrics."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Protocol

from tercet.metrics import Metric


@dataclass(frozen=True)
class Counters:
    """Since the file was made. `taken` = held + in the dead-letter box + acknowledged + expired."""

    taken: int = 0
    """Frames accepted, the node's own or another's."""
    sent: int = 0
    """Frames sent to the next holder, each time."""
    acknowledged: int = 0
    """Frames that the next holder has, and this one has forgotten."""
    redelivered: int = 0
    """Frames sent that had been sent before."""
    deduplicated: int = 0
    """Frames offered that had been taken before."""
    expired: int = 0
    """Frames given up by a limit of age or bytes."""
    dead_lettered: int = 0
    """Frames put into the dead-letter box."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in fields(cls))

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def read_counters(connection: sqlite3.Connection) -> dict[str, int]:
    """Raises sqlite3.Error."""
    return dict(connection.execute("SELECT name, value FROM counters"))


@dataclass(frozen=True)
class Held:
    """What a holder has now. `oldest_age_s` is None if it holds nothing; dead letters are not in the rest."""

    frames: int = 0
    bytes: int = 0
    oldest_age_s: float | None = None
    dead_letters: int = 0
    dead_letter_bytes: int = 0


class Holder(Protocol):
    """What has counters and holds frames; may be asked from any thread. `load` leaves out ages."""

    def counters(self) -> Counters: ...

    def load(self) -> Held: ...


_HELP = {
    "taken": "Durable frames accepted.",
    "sent": "Durable frames sent to the next holder, each time.",
    "acknowledged": "Durable frames that the next holder has.",
    "redelivered": "Durable frames sent that had been sent before.",
    "deduplicated": "Durable frames offered that had been taken before.",
    "expired": "Durable frames given up by a limit of age or bytes.",
    "dead_lettered": "Durable frames put into the dead-letter box.",
}


def durable_metrics(journal: Holder) -> list[Metric]:
    """Counters and gauges of a journal, for /metrics."""

    def counter(name: str) -> Metric:
        return Metric(
            f"tercet_durable_{name}_total", "counter", _HELP[name], lambda: getattr(journal.counters(), name)
        )

    def gauge(name: str, text: str, field: str) -> Metric:
        return Metric(f"tercet_durable_{name}", "gauge", text, lambda: getattr(journal.load(), field))

    return [
        *(counter(name) for name in Counters.names()),
        gauge("held_frames", "Durable frames held for the next holder.", "frames"),
        gauge("held_bytes", "Bytes of durable frames held for the next holder.", "bytes"),
        gauge("dead_letters", "Frames in the dead-letter box.", "dead_letters"),
        gauge("dead_letter_bytes", "Bytes of frames in the dead-letter box.", "dead_letter_bytes"),
    ]


def write_counters(connection: sqlite3.Connection, changed: Iterable[tuple[str, int]]) -> None:
    """Raises sqlite3.Error."""
    connection.executemany(
        "UPDATE counters SET value = ? WHERE name = ?", [(value, name) for name, value in changed]
    )
