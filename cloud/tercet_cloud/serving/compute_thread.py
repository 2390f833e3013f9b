"""The one thread in which a replica computes: realtime calls first, and durable ones in the gaps between them.

A call that is under way is never interrupted, so patient calls should be short. Under realtime load that leaves no
gap a patient call goes first once in `patience_s`, so that durable frames never stand still.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 1.0


@dataclass(frozen=True)
class _Call:
    call: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)
    since_s: float = field(default_factory=time.monotonic)


class ComputeThread:
    """Starts at once and lives as long as the process, whose end it does not delay."""

    def __init__(self, name: str, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._urgent: deque[_Call] = deque()
        self._patient: deque[_Call] = deque()
        self._patient_ended_s = float("-inf")
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, call: Callable[[], Any], *, patient: bool = False) -> Future[Any]:
        """Have `call` run: in order among its like, `patient` ones when no other waits."""
        queued = _Call(call)
        with self._changed:
            (self._patient if patient else self._urgent).append(queued)
            self._changed.notify()
        return queued.future

    def _work(self) -> None:
        while True:
            queued, patient = self._take()
            if not queued.future.set_running_or_notify_cancel():
                continue
            try:
                queued.future.set_result(queued.call())
            except BaseException as error:
                queued.future.set_exception(error)
            if patient:
                self._patient_ended_s = time.monotonic()

    def _take(self) -> tuple[_Call, bool]:
        with self._changed:
            while not (self._urgent or self._patient):
                self._changed.wait()
            if self._patient and (not self._urgent or self._overdue(self._patient[0])):
                return self._patient.popleft(), True
            return self._urgent.popleft(), False

    def _overdue(self, queued: _Call) -> bool:
        return time.monotonic() - max(queued.since_s, self._patient_ended_s) > self._patience_s
