"""What is kept of one durable frame, and what became of one that was brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tercet.durable.capture_time import AgeSource
from tercet.errors import WireFormatError
from tercet.identifiers import check_name
from tercet.v1 import frame_pb2

# A device's numbers: a random epoch for every fresh outbox, then a counter (docs/reliability.md).
COUNTER_BITS = 32
MAX_SEQUENCE = (1 << 53) - 1


class ResultKey(NamedTuple):
    """Names a durable frame for ever."""

    node: str
    sequence: int

    @classmethod
    def of(cls, header: frame_pb2.FrameHeader) -> ResultKey:
        """SpecError or WireFormatError for what names no frame."""
        if not 1 <= header.sequence <= MAX_SEQUENCE:
            raise WireFormatError(f"sequence {header.sequence} of a durable frame is not between 1 and 2^53 - 1")
        return cls(check_name(header.node, "node"), header.sequence)

    @property
    def epoch(self) -> int:
        return self.sequence >> COUNTER_BITS


@dataclass(frozen=True)
class Result:
    """One frame's outputs, and where and when they come from. Times are of this cloud's clock.

    `outputs` is a sealed answer (docs/wire.md). `label` and `confidence` are a classifier's best.
    """

    key: ResultKey
    model: str
    plan: str
    outputs: bytes = field(repr=False)
    captured_unix_us: int
    age_source: AgeSource
    received_unix_us: int
    degraded: bool = False
    reason: str = ""
    label: str | None = None
    confidence: float | None = None


class Stored(StrEnum):
    """What became of a result that was brought."""

    NEW = "new"
    DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Tallies:
    """What the store has counted since it was made, over restarts and over everybody who writes to it.

    `held_frames` and `held_bytes` are what it holds now.
    """

    taken: int = 0
    redelivered: int = 0
    deduplicated: int = 0
    out_of_order: int = 0
    refused: int = 0
    expired: int = 0
    held_frames: int = 0
    held_bytes: int = 0
