"""A clock that never jumps while the machine is up, and which time up this is.

CLOCK_BOOTTIME runs on in suspend and is the same for all processes of a host; the boot's id tells whether two
readings of it may be compared.
"""

from __future__ import annotations

import functools
import secrets
import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Systems without it (not Linux) have a monotonic clock for all processes too, though it may stand in suspend.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime_us() -> int:
    """Microseconds since the machine was started, suspend included."""
    return time.clock_gettime_ns(_CLOCK) // 1000


@functools.cache
def boot_id() -> str:
    """Of this time the machine is up. Where the system does not tell, of this process alone."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return f"process-{secrets.token_hex(16)}"
