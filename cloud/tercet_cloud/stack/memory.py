"""Resident memory of the tiers' processes, children included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from tercet_cloud.stack.tier_process import TierProcess

MIB = 1 << 20


@dataclass(frozen=True)
class ProcessMemory:
    """One tier process. `rss_mb` is its own, `children_rss_mb` that of its descendants (Ray, the broker)."""

    tier: str
    node: str
    pid: int
    rss_mb: float
    children_rss_mb: float


class MemoryWatch:
    """Keeps the highest resident memory seen of each process."""

    def __init__(self) -> None:
        self._peaks: dict[int, ProcessMemory] = {}

    def sample(self, processes: Iterable[TierProcess]) -> None:
        """Look once; processes that are gone keep their last peak."""
        for process in processes:
            try:
                own = psutil.Process(process.pid)
                own_mb = own.memory_info().rss / MIB
                children_mb = sum(_rss_bytes(child) for child in own.children(recursive=True)) / MIB
            except psutil.Error:
                continue
            before = self._peaks.get(process.pid)
            self._peaks[process.pid] = ProcessMemory(
                process.tier.value,
                process.node,
                process.pid,
                round(max(own_mb, before.rss_mb if before else 0), 1),
                round(max(children_mb, before.children_rss_mb if before else 0), 1),
            )

    def peaks(self) -> list[ProcessMemory]:
        return list(self._peaks.values())


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
