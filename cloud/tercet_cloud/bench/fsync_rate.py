"""How often a second this machine's disk takes a small write for good: what durable frames cannot go without."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

# A page of the journal's write-ahead log, with its header.
WRITE_BYTES = 4096 + 24


def fsync_per_s(folder: Path, seconds: float) -> float:
    """Appends of a page, each followed by fdatasync, in a file of `folder` for so long; blocks."""
    page = os.urandom(WRITE_BYTES)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        began_s = time.perf_counter()
        count = 0
        while (took_s := time.perf_counter() - began_s) < seconds:
            os.write(file.fileno(), page)
            os.fdatasync(file.fileno())
            count += 1
    return count / took_s
