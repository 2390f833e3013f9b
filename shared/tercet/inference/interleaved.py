"""Timing several things in turns, so that a machine that slows down for a while slows all of them.

A round runs every series of probes once, in another order each time, so that none always finds the caches as the
same other one left them. Rounds that were slow as a whole are left out of the medians: what they measured was the
neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Probe = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds until `budget_s` is used up, but no fewer or more than these.

    `warm_up` rounds come before them and are not counted.
    """

    budget_s: float = 10.0
    min_rounds: int = 7
    max_rounds: int = 200
    warm_up: int = 2


class MeasuringStopped(Exception):
    """Measuring was called off before it was done; never reaches people."""


def time_in_turns(
    series: Sequence[Sequence[Probe]],
    effort: Effort,
    *,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    progress: Callable[[float], None] = lambda share: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Float64Array:
    """Run all series of probes in turns; the probes of one series always follow each other.

    Args:
        clock_ns: what a probe's time is read from.
        progress: told the share done, 0…1, after each round.
        stopped: asked before each probe.
    Returns:
        (rounds, probes) float64, milliseconds; probes in the order given.
    Raises:
        MeasuringStopped: `stopped` said so. Errors of probes propagate.
    """
    rounds: list[list[float]] = []
    order = np.random.default_rng(0)
    began_s = time.perf_counter()
    count = -effort.warm_up
    while True:
        times_ms: list[list[float]] = [[] for _ in series]
        for index in order.permutation(len(series)):
            for probe in series[index]:
                if stopped():
                    raise MeasuringStopped("measuring was stopped before it was done")
                start_ns = clock_ns()
                probe()
                times_ms[index].append((clock_ns() - start_ns) / 1e6)
        count += 1
        if count > 0:
            rounds.append([time_ms for one in times_ms for time_ms in one])
        share = max((time.perf_counter() - began_s) / effort.budget_s, count / effort.max_rounds)
        enough = count >= effort.min_rounds
        progress(min(share, max(0.0, count / effort.min_rounds), 1.0))
        if enough and share >= 1:
            return np.array(rounds)


def quiet_medians(times_ms: Float64Array) -> Float64Array:
    """The median of every probe over the quieter half of the rounds.

    Args:
        times_ms: (rounds, probes).
    Returns:
        (probes,), in the same unit.
    """
    totals = times_ms.sum(axis=1)
    quiet: Float64Array = np.median(times_ms[totals <= np.median(totals)], axis=0)
    return quiet
