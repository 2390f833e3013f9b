"""A worker: a Ray actor that runs one call at a time, and holds a few more that wait for their turn.

Calls arrive in threads of the actor; a baton decides whose turn it is, by rank. So the scheduler can give short
calls ahead, and an important one still goes before those that wait here.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from tercet_cloud.dag.baton import RUNNING, Baton, Standing
from tercet_cloud.dag.call import DROPPED, ITEM, LAZY, ONE, Call, Circumstances, Report, unpack_call
from tercet_cloud.dag.events.result_cache import ResultCache
from tercet_cloud.dag.graph import CLOUD
from tercet_cloud.dag.kept_values import INLINE_BYTES, ValueFolder
from tercet_cloud.dag.step_runner import Given, report_of, run_step, to_bytes

if TYPE_CHECKING:
    from tercet_cloud.dag.step_places import StepPlaces

THREADS = 8
_CACHED_LISTS = 4
_FETCH_S = 60.0
# A call as it is sent: packed, its circumstances, how many of the values that follow are its own, and whether the
# bytes of its result are wanted.
Order = tuple[bytes, tuple[Any, ...], int, bool]
_DROPPED = Report(DROPPED, 0.0)


class StepWorker:
    """The plain class; `WorkerActor` is its Ray actor.

    Args:
        values: folder of results that are kept.
    """

    def __init__(self, values: Path | None) -> None:
        self._baton = Baton()
        self._folder = None if values is None else ValueFolder(values)
        self._cache = None if values is None else ResultCache(values.parent / "reused")
        self._lists: OrderedDict[str, Any] = OrderedDict()
        self._using_lists = threading.Lock()
        self._places: StepPlaces | None = None

    def ready(self) -> bool:
        """Answers once the process is up; from then on it listens to what steps log at INFO and above."""
        logging.getLogger().setLevel(logging.INFO)
        return True

    def run(self, calls: Sequence[Order], *values: Any) -> tuple[Any, ...]:
        """The reports, then the values, then the bytes of those that are kept (empty where the folder has them).

        Several calls come together if they are so short that sending each would cost more than running it. Each
        waits for its own turn, and what is wrong with one is in its own report.
        """
        reports, results, kept, at = [], [], [], 0
        for packed, circumstances, width, keeps in calls:
            report, value, data = self._run_one(
                packed, Circumstances(*circumstances), values[at : at + width], keeps=keeps
            )
            at += width
            reports.append(report)
            results.append(value)
            if keeps:
                kept.append(data)
        return (reports, *results, *kept)

    def drop(self, name: str) -> Standing:
        """Give up a call. One that runs here runs on; one that waits for another tier's answer waits no longer."""
        standing = self._baton.drop(name)
        if standing.state == RUNNING and self._places is not None:
            self._places.give_up(name)
        return standing

    def _run_one(
        self, packed: bytes, circumstances: Circumstances, values: Sequence[Any], *, keeps: bool
    ) -> tuple[Report, Any, bytes]:
        try:
            call = unpack_call(packed)
            # Who waits for another tier computes nothing here, and keeps nobody from it.
            if call.place == CLOUD:
                turn = self._baton.held(circumstances.name, circumstances.rank)
            else:
                turn = self._baton.aside(circumstances.name)
            with turn as may:
                if not may:
                    return _DROPPED, None, b""
                counts, given = self._resolved(circumstances.counts, values)
                report, value = run_step(
                    call, circumstances, Given.unpack(counts, given), self._run_elsewhere, self._cache
                )
                return self._kept(report, value) if keeps else (report, value, b"")
        except Exception as error:
            return report_of(error, 0.0), None, b""

    def _run_elsewhere(self, call: Call, arguments: Mapping[str, Any], circumstances: Circumstances) -> Any:
        if self._places is None:
            # Deferred: most workers run functions only, and this imports ONNX Runtime and gRPC.
            from tercet_cloud.dag.step_places import StepPlaces

            self._places = StepPlaces()
        return self._places.run(call, arguments, circumstances)

    def _kept(self, report: Report, value: Any) -> tuple[Report, Any, bytes]:
        if report.state != "done":
            return report, value, b""
        assert self._folder is not None
        try:
            data = to_bytes(value)
        except Exception as error:
            failed = report._replace(state="failed", trouble="wrong type", reason=str(error), may_retry=False)
            return failed, None, b""
        report = report._replace(kept_bytes=len(data))
        if len(data) <= INLINE_BYTES:
            return report, value, data
        return report._replace(kept=self._folder.put(data)), value, b""

    def _resolved(self, counts: tuple[int, ...], values: Sequence[Any]) -> tuple[tuple[int, ...], list[Any]]:
        """Values that came by reference, fetched; the last few are held, as the next item will want them too."""
        if LAZY not in counts:
            return counts, list(values)
        resolved, at = [], 0
        for count in counts:
            if count == LAZY:
                resolved.append(self._fetch(values[at][0]))
                at += 1
            else:
                width = count if count >= 0 else 1 if count in (ONE, ITEM) else 0
                resolved.extend(values[at : at + width])
                at += width
        return tuple(ONE if count == LAZY else count for count in counts), resolved

    def _fetch(self, reference: Any) -> Any:
        key = reference.hex()
        with self._using_lists:
            if key in self._lists:
                self._lists.move_to_end(key)
                return self._lists[key]
        value = ray.get(reference, timeout=_FETCH_S)
        with self._using_lists:
            self._lists[key] = value
            if len(self._lists) > _CACHED_LISTS:
                self._lists.popitem(last=False)
        return value


def new_worker(values: Path | None, *, gpus: int = 0) -> Any:
    """A handle to a new worker process. The scheduler accounts for CPUs; Ray is only asked to spread workers."""
    make = ray.remote(
        num_cpus=0,
        num_gpus=gpus,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
        concurrency_groups={"control": 1},
        max_concurrency=THREADS,
    )
    return make(StepWorker).remote(values)
