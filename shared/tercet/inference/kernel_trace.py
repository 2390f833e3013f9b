"""ONNX Runtime's own times of the kernels in one session, read from the trace that it writes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tercet.codecs.codec import Array
from tercet.inference.segment_chain import open_session

_KERNEL_SUFFIX = "_kernel_time"
# Changes of memory layout: the runtime puts them where a session meets the world, so a longer session has fewer.
_REORDERS = frozenset({"ReorderInput", "ReorderOutput"})


@dataclass(frozen=True)
class Kernel:
    """A node after the runtime's optimisation. `ms` is its median over runs; traced, so a little too long."""

    node: str
    op_type: str
    ms: float

    @property
    def is_reorder(self) -> bool:
        return self.op_type in _REORDERS


@dataclass(frozen=True)
class KernelTrace:
    """The kernels of one session in order of execution; `run_ms` is what an undisturbed traced run takes."""

    kernels: tuple[Kernel, ...]
    run_ms: float

    @property
    def own(self) -> tuple[Kernel, ...]:
        """The kernels without changes of layout; all of them if there is nothing else."""
        return tuple(kernel for kernel in self.kernels if not kernel.is_reorder) or self.kernels

    @property
    def own_share(self) -> float:
        """The part of a run, 0…1, that its own kernels take."""
        if self.run_ms <= 0:
            return 1.0
        return min(1.0, sum(kernel.ms for kernel in self.own) / self.run_ms)


def trace_kernels(
    onnx_bytes: bytes,
    inputs: Mapping[str, Array],
    *,
    threads: int,
    providers: Sequence[str],
    runs: int = 15,
    budget_s: float = 1.0,
) -> KernelTrace:
    """Run a model some times with tracing on.

    Args:
        runs, budget_s: stop after so many runs, or after at least three when so much time is used up.
    """
    with tempfile.TemporaryDirectory(prefix="tercet-trace-") as folder:
        session = open_session(onnx_bytes, threads, providers, trace_prefix=Path(folder) / "trace")
        began_s = time.perf_counter()
        for done in range(1, runs + 1):
            session.run(None, dict(inputs))
            if done >= 3 and time.perf_counter() - began_s > budget_s:
                break
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return read_trace(events)


def read_trace(events: Sequence[Mapping[str, Any]]) -> KernelTrace:
    """Medians over the runs of a trace; the first run, which warms up, is left out if there are others."""
    runs = [event for event in events if event.get("name") == "model_run"]
    runs = runs[1:] or runs
    kernels = _outermost([event for event in events if str(event.get("name", "")).endswith(_KERNEL_SUFFIX)])
    times_us: dict[tuple[str, str], list[float]] = {}
    rest_us = [float(run["dur"]) for run in runs]
    for number, run in enumerate(runs):
        for event in kernels:
            if run["ts"] <= event["ts"] < run["ts"] + run["dur"]:
                key = (event["name"].removesuffix(_KERNEL_SUFFIX), str(event.get("args", {}).get("op_name", "")))
                times_us.setdefault(key, [0.0] * len(runs))[number] += event["dur"]
                rest_us[number] -= event["dur"]
    found = tuple(Kernel(node, op_type, float(np.median(us)) / 1e3) for (node, op_type), us in times_us.items())
    # Not the median of the runs: on a busy machine most of them are interrupted somewhere.
    rest_ms = max(0.0, float(np.median(rest_us))) / 1e3 if rest_us else 0.0
    return KernelTrace(found, sum(kernel.ms for kernel in found) + rest_ms)


def _outermost(events: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without what runs inside another kernel: the branches of an If, the body of a Loop."""
    kept: list[Mapping[str, Any]] = []
    end_us = -1
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] + event["dur"] > end_us:
            kept.append(event)
            end_us = event["ts"] + event["dur"]
    return kept
