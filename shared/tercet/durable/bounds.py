"""How much a holder keeps, and what happens to a frame too many. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from tercet.durable.capture_time import AgeSource, CaptureStamp
from tercet.errors import FrameTooLargeError, OverloadedError, SettingsError
from tercet.limits import MAX_FRAME_BYTES, MIB

Policy = Literal["refuse-newest", "expire-oldest"]

RETRY_AFTER_S = 1.0
# Ages that no wrong clock can have made.
SURE = (AgeSource.MONOTONIC, AgeSource.COMPARED_CLOCK)


@dataclass(frozen=True)
class Bounds:
    """Of one holder.

    Args:
        max_bytes: of sealed frames that wait for the next holder.
        max_age_s: since a frame was captured; None: as old as it gets.
        policy: when `max_bytes` are held: refuse-newest leaves a new frame with whoever offers it; expire-oldest
            makes room by giving up the oldest, counted and logged.
        max_dead_letter_bytes: of sealed frames in the dead-letter box, which keeps at least one; beyond it the
            oldest are given up, counted and logged.
    """

    max_bytes: int = 256 * MIB
    max_age_s: float | None = None
    policy: Policy = "refuse-newest"
    max_dead_letter_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_dead_letter_bytes < 0:
            raise SettingsError(f"a journal of {self.max_bytes} bytes is impossible: give it 1 or more")
        if self.max_age_s is not None and not (isfinite(self.max_age_s) and self.max_age_s > 0):
            raise SettingsError(f"an age limit of {self.max_age_s} s is impossible: give more than 0, or none")

    def bytes_to_expire(self, held_bytes: int, size_bytes: int) -> int:
        """How many bytes must go before a frame of `size_bytes` can be taken; 0 if it just fits.

        Raises:
            FrameTooLargeError: it never fits.
            OverloadedError: it does not fit now, and nothing is given up for it.
        """
        if size_bytes > min(self.max_bytes, MAX_FRAME_BYTES):
            raise FrameTooLargeError(
                f"a frame of {size_bytes / MIB:.1f} MiB never fits: the limit is "
                f"{min(self.max_bytes, MAX_FRAME_BYTES) / MIB:.1f} MiB"
            )
        excess_bytes = held_bytes + size_bytes - self.max_bytes
        if excess_bytes <= 0:
            return 0
        if self.policy == "refuse-newest":
            raise OverloadedError(
                f"{held_bytes / MIB:.1f} MiB of {self.max_bytes / MIB:.1f} MiB are held: wait until the next "
                "holder takes some",
                retry_after_s=RETRY_AFTER_S,
            )
        return excess_bytes


def surely_older(limit_s: float, stamp: CaptureStamp, now: CaptureStamp, age: tuple[int, AgeSource]) -> bool:
    """Whether a frame is over an age limit for sure: a doubtful clock never costs a frame.

    Args:
        stamp, now: this host's clocks when the frame was captured, and now.
        age: in ms, and how it is known.
    """
    age_ms, source = age
    if source not in SURE:
        # At least as old as this boot, if it is of an earlier one.
        age_ms = now.boottime_us // 1000 if stamp.boot_id != now.boot_id else 0
    return age_ms > limit_s * 1000
