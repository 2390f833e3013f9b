"""A bound on what one call may allocate, kept by the kernel: beyond it Python raises MemoryError."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tercet.limits import MIB


@contextmanager
def limited_memory(max_memory_mb: float | None) -> Iterator[None]:
    """While entered, this process may hold so many MiB of private data more than it holds now; None: any.

    RLIMIT_DATA counts heap and private mappings, not the object store, which is shared. It is of the whole process:
    one call at a time.
    """
    if max_memory_mb is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes = _data_bytes() + round(max_memory_mb * MIB)
    hard = before[1]
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int:
    """Private data of this process, as the limit counts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
