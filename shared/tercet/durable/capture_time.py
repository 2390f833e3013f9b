"""When a durable frame was captured, told so that a wrong clock cannot spoil it. Pure.

A frame carries no time of day. Each holder notes its clocks when it gets a frame (`CaptureStamp`) and tells the
next one how old the frame is: by CLOCK_BOOTTIME as long as the machine is up, after a restart by clocks that were
compared with another host's before and after, else by the wall clock as it stands. The weakest of these on the
whole way is told along, so that a doubtful time is never taken for a sure one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tercet.durable.clock_offset import ClockOffsets
from tercet.v1 import delivery_pb2 as pb

# Nothing is older: what says so is a clock that was never set.
MAX_AGE_MS = 10 * 365 * 24 * 3600 * 1000
# By how much compared clocks may contradict what is sure, beyond their own bounds.
_TOLERANCE_US = 1_000_000


class AgeSource(StrEnum):
    """How an age is known, the surest first; see delivery.proto."""

    MONOTONIC = "monotonic"
    COMPARED_CLOCK = "compared-clock"
    BARE_CLOCK = "bare-clock"
    UNKNOWN = "unknown"

    @property
    def wire(self) -> pb.AgeSource:
        return _WIRE[self]

    @classmethod
    def from_wire(cls, code: int) -> AgeSource:
        """UNKNOWN for what only newer versions know."""
        return next((source for source, wire in _WIRE.items() if wire == code), cls.UNKNOWN)

    def weaker(self, other: AgeSource) -> AgeSource:
        """The less sure of both."""
        return max(self, other, key=_BY_STRENGTH.index)


_BY_STRENGTH: Sequence[AgeSource] = list(AgeSource)
_WIRE = {
    AgeSource.MONOTONIC: pb.AGE_SOURCE_MONOTONIC,
    AgeSource.COMPARED_CLOCK: pb.AGE_SOURCE_COMPARED_CLOCK,
    AgeSource.BARE_CLOCK: pb.AGE_SOURCE_BARE_CLOCK,
    AgeSource.UNKNOWN: pb.AGE_SOURCE_UNSPECIFIED,
}


@dataclass(frozen=True)
class CaptureStamp:
    """This host's clocks when a frame was captured: wall clock, CLOCK_BOOTTIME, and in which boot.

    Of a frame that came from another host, what these clocks would have shown (before this host was started,
    `boottime_us` is negative), and `source`, how sure the host before was of the frame's age.
    """

    wall_us: int
    boottime_us: int
    boot_id: str
    source: AgeSource = AgeSource.MONOTONIC

    def earlier(self, age_ms: int, source: AgeSource) -> CaptureStamp:
        """Of a frame that is `age_ms` old at this moment, by what another host says."""
        if age_ms > MAX_AGE_MS:
            age_ms, source = 0, AgeSource.UNKNOWN
        return replace(
            self, wall_us=self.wall_us - age_ms * 1000, boottime_us=self.boottime_us - age_ms * 1000, source=source
        )


def age(stamp: CaptureStamp, now: CaptureStamp, offsets: ClockOffsets) -> tuple[int, AgeSource]:
    """How old a frame is, in ms, and how that is known.

    Args:
        stamp: of the frame.
        now: this host's clocks now.
        offsets: comparisons with other hosts, in this boot and those before.
    Returns:
        of a frame of an earlier boot of which no clock tells, the time since this boot: it is at least that old.
    """
    if stamp.boot_id == now.boot_id:
        return max(0, now.boottime_us - stamp.boottime_us) // 1000, stamp.source
    found_us, source = _across_boots(stamp, now, offsets)
    return found_us // 1000, source.weaker(stamp.source)


def _across_boots(stamp: CaptureStamp, now: CaptureStamp, offsets: ClockOffsets) -> tuple[int, AgeSource]:
    pair = offsets.between(stamp.boot_id, now.boot_id)
    if pair is not None:
        before, after = pair
        found_us = now.boottime_us + after.offset_us - stamp.boottime_us - before.offset_us
        slack_us = before.error_us + after.error_us + _TOLERANCE_US
        if _plausible(found_us + slack_us, now):
            return max(found_us, now.boottime_us), AgeSource.COMPARED_CLOCK
    found_us = now.wall_us - stamp.wall_us
    if _plausible(found_us, now):
        return found_us, AgeSource.BARE_CLOCK
    return now.boottime_us, AgeSource.UNKNOWN


def _plausible(age_us: int, now: CaptureStamp) -> bool:
    """A frame of an earlier boot is older than this boot. A clock that starts at 1970 every time says otherwise."""
    return now.boottime_us <= age_us <= MAX_AGE_MS * 1000
