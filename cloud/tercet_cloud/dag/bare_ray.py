"""Bare Ray tasks, as the bench compares pipelines with: no scheduler, no names, no states."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray


class BareTasks:
    """Tasks of one function on the Ray that is up; times are of the calling process."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._task = ray.remote(function)

    def wide_s(self, tasks: int) -> float:
        """All submitted at once, until the last is there."""
        began_s = time.perf_counter()
        ray.get([self._task.remote() for _ in range(tasks)], timeout=600)
        return time.perf_counter() - began_s

    def chain_s(self, tasks: int) -> float:
        """Each takes the one before, by reference; all submitted at once."""
        began_s = time.perf_counter()
        last = self._task.remote()
        for _ in range(tasks - 1):
            last = self._task.remote(a=last)
        ray.get(last, timeout=600)
        return time.perf_counter() - began_s

    def one_by_one_s(self, tasks: int) -> float:
        """Each submitted when the one before is there, as somebody must who decides what comes next."""
        began_s = time.perf_counter()
        for _ in range(tasks):
            ray.get(self._task.remote(), timeout=60)
        return time.perf_counter() - began_s
