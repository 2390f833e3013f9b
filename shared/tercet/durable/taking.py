"""Frames that come in: a node's own, which gets its sequence here, and those that another holder hands over."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tercet.durable import frame_rows
from tercet.durable.capture_time import CaptureStamp
from tercet.durable.database import number
from tercet.durable.ledger import Ledger
from tercet.errors import ContractError, InvariantError, OverloadedError, SpecError, TercetError
from tercet.identifiers import NodeId
from tercet.wire.messages import Frame

# What every language's numbers hold exactly; the wire's 64 bits are more than SQLite's.
MAX_SEQUENCE = 1 << 53

# Makes sure of room for a frame of so many bytes, or raises OverloadedError or FrameTooLargeError.
Admit = Callable[[sqlite3.Connection, Ledger, int], object]


@dataclass(frozen=True)
class Arrival:
    """A frame that another holder hands over. `sealed` has been opened and checked."""

    node: NodeId
    sequence: int
    sealed: bytes = field(repr=False)
    captured: CaptureStamp


class Taken(StrEnum):
    """What became of an arrival."""

    NEW = "new"
    DUPLICATE = "duplicate"


def record_one(
    connection: sqlite3.Connection,
    ledger: Ledger,
    seal: Callable[[int], bytes],
    captured: CaptureStamp,
    admit: Admit,
) -> int:
    """Seal a frame for the next sequence, keep it, and return the sequence."""
    sequence = number(connection, "SELECT next_sequence FROM own")
    sealed = seal(sequence)
    header = Frame.open(sealed).header
    if header.sequence != sequence:
        raise InvariantError(f"a frame sealed for sequence {sequence} says {header.sequence}")
    admit(connection, ledger, len(sealed))
    connection.execute("UPDATE own SET next_sequence = ?", (sequence + 1,))
    frame_rows.insert(connection, ledger, header.node, sequence, sealed, captured)
    return sequence


def take_all(
    connection: sqlite3.Connection, ledger: Ledger, arrivals: Sequence[Arrival], admit: Admit
) -> list[Taken | TercetError]:
    """What became of each arrival. One that is refused for now has the later ones of its node refused as well."""
    outcomes: list[Taken | TercetError] = []
    refused: dict[NodeId, OverloadedError] = {}
    for arrival in arrivals:
        try:
            outcomes.append(_take_one(connection, ledger, arrival, refused.get(arrival.node), admit))
        except OverloadedError as error:
            refused[arrival.node] = error
            outcomes.append(error)
        except ContractError as error:
            outcomes.append(error)
    return outcomes


def _take_one(
    connection: sqlite3.Connection,
    ledger: Ledger,
    arrival: Arrival,
    refused_before: OverloadedError | None,
    admit: Admit,
) -> Taken:
    if not 0 <= arrival.sequence < MAX_SEQUENCE:
        raise SpecError(f"sequence {arrival.sequence} of {arrival.node} is not below 2^53")
    if frame_rows.is_known(connection, arrival.node, arrival.sequence):
        ledger.count("deduplicated")
        return Taken.DUPLICATE
    if refused_before is not None:
        raise refused_before
    admit(connection, ledger, len(arrival.sealed))
    frame_rows.insert(connection, ledger, arrival.node, arrival.sequence, arrival.sealed, arrival.captured)
    return Taken.NEW
