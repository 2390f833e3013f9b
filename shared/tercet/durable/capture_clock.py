"""A holder's clocks: stamps what it gets, tells ages, and compares itself with the next holder at every answer.

What it learns of other hosts' clocks lies in `clock.json` beside the frames, for after the next restart.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from tercet.boot_clock import boot_id, boottime_us
from tercet.documents import read_document, write_atomically
from tercet.durable.capture_time import AgeSource, CaptureStamp, age
from tercet.durable.clock_offset import (
    ClockOffsets,
    Comparison,
    Exchange,
    HostClock,
    SavedComparisons,
    WallWatch,
)
from tercet.errors import ContractError
from tercet.metrics import Metric
from tercet.wall_clock import REAL_CLOCK, WallClock

log = logging.getLogger(__name__)

FILE_NAME = "clock.json"
SAVE_EVERY_S = 60.0
# Questions of which the answer is awaited; older ones are as good as lost.
_KEPT_QUESTIONS = 64
# Other hosts that are watched at once: hosts are named by peers.
_KEPT_HOSTS = 16
# A comparison that is better by this is saved at once.
_BETTER = 0.5


class CaptureClock:
    """Of one process. Not thread-safe, but for the metrics.

    Args:
        folder: where comparisons are kept; they are read now. A file that cannot be read is said and begun anew.
        wall: the wall clock to go by.
        boottime_us, boot: a clock that never jumps within a boot, and which boot this is.
    """

    def __init__(
        self,
        folder: Path,
        wall: WallClock = REAL_CLOCK,
        *,
        boottime_us: Callable[[], int] = boottime_us,
        boot: str | None = None,
    ) -> None:
        self._path = folder / FILE_NAME
        self._wall = wall
        self._boottime_us = boottime_us
        self._boot = boot or boot_id()
        self._offsets = ClockOffsets(_read(self._path))
        self._hosts: OrderedDict[str, HostClock] = OrderedDict()
        self._asked: OrderedDict[int, int] = OrderedDict()
        self._watch = WallWatch()
        self._saved_s: float | None = None
        self._writable = True
        self.jumps = self.others_jumps = 0

    def now(self) -> CaptureStamp:
        """This host's clocks now; notices if its wall clock has been set."""
        wall_us, boottime_us = self._wall.now_us(), self._boottime_us()
        if moved_us := self._watch.look(wall_us, boottime_us):
            self.jumps += 1
            level = logging.WARNING if self.jumps == 1 else logging.DEBUG
            log.log(level, "wall clock was set", extra={"by_s": round(moved_us / 1e6, 3), "jumps": self.jumps})
        return CaptureStamp(wall_us, boottime_us, self._boot)

    def age(self, stamp: CaptureStamp) -> tuple[int, AgeSource]:
        """How old a frame is now, in ms, and how that is known."""
        return age(stamp, self.now(), self._offsets)

    def would_learn(self, stamps: Iterable[CaptureStamp]) -> bool:
        """Whether ages are doubtful only because nobody has answered yet in this boot."""
        if self._offsets.of(self._boot):
            return False
        return any(stamp.boot_id != self._boot and self._offsets.of(stamp.boot_id) for stamp in stamps)

    def ask(self) -> int:
        """A question leaves now: the wall clock for it to carry, in microseconds since 1970."""
        now = self.now()
        sent_unix_us = now.wall_us
        while sent_unix_us in self._asked:
            sent_unix_us += 1
        self._asked[sent_unix_us] = now.boottime_us
        while len(self._asked) > _KEPT_QUESTIONS:
            self._asked.popitem(last=False)
        return sent_unix_us

    def learn(self, host: str, sent_unix_us: int, answered_unix_us: int) -> None:
        """`host` has answered what was sent at `sent_unix_us`; an answer to nothing asked is passed over."""
        asked_us = self._asked.pop(sent_unix_us, None)
        if asked_us is None:
            return
        received_us = self._boottime_us()
        known = self._hosts.setdefault(host, HostClock())
        self._hosts.move_to_end(host)
        while len(self._hosts) > _KEPT_HOSTS:
            self._hosts.popitem(last=False)
        jumped = known.add(Exchange(asked_us, received_us, answered_unix_us))
        if jumped:
            self.others_jumps += 1
            log.warning("another host's clock was set", extra={"host": host})
        best = known.best(received_us)
        if best is not None:
            self._keep(Comparison(boot_id=self._boot, host=host, offset_us=best.offset_us, error_us=best.error_us))

    def offsets_ms(self) -> dict[str, float]:
        """By other host, how far this host's wall clock is ahead of it."""
        ahead_us = self._wall.now_us() - self._boottime_us()
        return {host: (ahead_us - found.offset_us) / 1000 for host, found in self._offsets.of(self._boot).items()}

    def metrics(self) -> list[Metric]:
        return [
            Metric("tercet_clock_offset_ms", "gauge", "Own wall clock less another's.", self.offsets_ms, "host"),
            Metric(
                "tercet_clock_jumps_total",
                "counter",
                "Times a wall clock was seen to be set.",
                lambda: {"own": self.jumps, "other": self.others_jumps},
                "clock",
            ),
        ]

    def _keep(self, found: Comparison) -> None:
        before = self._offsets.of(self._boot).get(found.host)
        self._offsets = self._offsets.with_comparison(found)
        now_s = time.monotonic()
        due = self._saved_s is None or now_s - self._saved_s > SAVE_EVERY_S
        if before is None or found.error_us < _BETTER * before.error_us or (due and found != before):
            self._saved_s = now_s
            self._write()

    def _write(self) -> None:
        saved = SavedComparisons(comparisons=self._offsets.comparisons)
        try:
            write_atomically(self._path, saved.model_dump_json().encode() + b"\n")
        except OSError as error:
            if self._writable:
                log.warning("clock comparison not saved", extra={"file": str(self._path), "reason": str(error)})
            self._writable = False
        else:
            self._writable = True


def _read(path: Path) -> tuple[Comparison, ...]:
    if not path.exists():
        return ()
    try:
        return read_document(SavedComparisons, path).comparisons
    except ContractError as error:
        log.warning("clock comparisons begun anew", extra={"reason": str(error)})
        return ()
