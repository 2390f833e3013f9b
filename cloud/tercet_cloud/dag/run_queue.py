"""Runs that wait to begin: by priority, then in order, no more at once than their pipeline and all together may."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from tercet_cloud.dag.outcomes import RunState
from tercet_cloud.dag.run_progress import RunProgress

Waiting = tuple[int, int, RunProgress]
# Fewer runs than this that were given up are not swept out.
_FEW = 64


class RunQueue:
    """Runs that were given up while they waited are passed over. `waiting` counts those that were not."""

    def __init__(self, active_runs: int) -> None:
        self._most = active_runs
        self._line: list[Waiting] = []
        # Runs whose pipeline is at its own limit, by pipeline.
        self._held: dict[str, list[Waiting]] = {}
        self._active: dict[str, int] = {}
        self._order = 0
        # Runs that were given up while they waited since the last sweep.
        self._gone = 0
        self.active = 0
        self.waiting = 0

    def push(self, progress: RunProgress) -> None:
        self._order += 1
        heappush(self._line, (-(progress.graph.priority + progress.priority_shift), self._order, progress))
        self.waiting += 1

    def forget(self) -> None:
        """A run that waited was given up; its state says so."""
        self.waiting -= 1
        self._gone += 1
        if self._gone > max(_FEW, self.waiting):
            self._gone = 0
            self._line = _still_waiting(self._line)
            held = {name: _still_waiting(line) for name, line in self._held.items()}
            self._held = {name: line for name, line in held.items() if line}

    def __len__(self) -> int:
        """Runs that are held here, with those that were given up and are not swept out yet."""
        return len(self._line) + sum(map(len, self._held.values()))

    def pop(self) -> RunProgress | None:
        """The run that begins next; None if none may."""
        while self._line and self.active < self._most:
            entry = heappop(self._line)
            progress = entry[2]
            name = progress.graph.name
            if progress.state is not RunState.QUEUED:
                continue
            if self._active.get(name, 0) >= progress.graph.max_runs:
                heappush(self._held.setdefault(name, []), entry)
                continue
            self.waiting -= 1
            self.active += 1
            self._active[name] = self._active.get(name, 0) + 1
            return progress
        return None

    def ended(self, progress: RunProgress) -> None:
        """A run that `pop` gave has ended: another of its pipeline may begin."""
        name = progress.graph.name
        self.active -= 1
        self._active[name] -= 1
        if not self._active[name]:
            del self._active[name]
        held = self._held.get(name, [])
        while held:
            entry = heappop(held)
            if entry[2].state is RunState.QUEUED:
                heappush(self._line, entry)
                break
        if not held:
            self._held.pop(name, None)


def _still_waiting(line: list[Waiting]) -> list[Waiting]:
    kept = [entry for entry in line if entry[2].state is RunState.QUEUED]
    heapify(kept)
    return kept
