"""The power-cut test: `python -m crash.power_cut --seeds 10`, in tests/.

Records what a workload writes (crash.write_log), cuts the power after every event (crash.disk: what was not synced
is lost, kept, torn or garbled, by seed), has the workload open what is left and look for broken promises. Prints
one line; the exit status is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import loads
from pathlib import Path

from crash.disk import Disk, Fate
from crash.recorded import MARKS, Mark, load
from crash.write_log import Event, Op, build_recorder, compiler, record

JOURNAL = "crash.journal_workload"
_MEMORY = Path("/dev/shm")
_SHOWN = 5


@dataclass
class Outcome:
    """What one or more lives and their cuts came to."""

    seeds: int = 0
    events: int = 0
    syncs: int = 0
    acknowledgements: int = 0
    cuts: int = 0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seeds {self.seeds}  events {self.events}  syncs {self.syncs}  marks {self.acknowledgements}  "
            f"cuts {self.cuts}  broken promises {len(self.broken)}"
        )


def cut_everywhere(
    workload: str,
    seed: int,
    recorder: Path,
    *,
    most_cuts: int | None = None,
    options: Sequence[str] = (),
) -> Outcome:
    """One life of `workload`, cut after every event in every fate, or at `most_cuts` of these by chance."""
    outcome = Outcome(seeds=1)
    source = random.Random(f"{workload}/{seed}")
    with _scratch() as scratch:
        life = scratch / "life"
        life.mkdir()
        events = record(recorder, workload, seed, life, options)
        outcome.events = len(events)
        outcome.syncs = sum(event.op is Op.SYNC for event in events)
        # After the first event, so that there is something, and after the last.
        moments = [(place, fate) for place in range(1, len(events) + 1) for fate in Fate]
        if most_cuts is not None and most_cuts < len(moments):
            moments = sorted(source.sample(moments, most_cuts))
        for place, fate, files, marks in _cuts(events, moments, source):
            outcome.cuts += 1
            left = scratch / "left"
            _lay_out(left, files, source)
            for line in load(workload).check(left, seed, marks):
                outcome.broken.append(f"seed {seed}, event {place} of {len(events)}, {fate}: {line}")
            shutil.rmtree(left)
    outcome.acknowledgements = sum(event.data.count(b"\n") for event in events if event.name == MARKS)
    return outcome


def _cuts(
    events: Sequence[Event], moments: Sequence[tuple[int, Fate]], source: random.Random
) -> Iterator[tuple[int, Fate, dict[str, bytes], list[Mark]]]:
    """For each moment, the files that are left and the marks made before."""
    disk, done, told = Disk(), 0, b""
    for place, fate in moments:
        for event in events[done:place]:
            if event.name == MARKS:
                told += event.data
            # Worth nothing after a crash, and mapped: not all that is in it was seen.
            elif not event.name.endswith("-shm"):
                disk.do(event)
        done = place
        yield place, fate, disk.after_cut(fate, source), [loads(line) for line in told.splitlines()]


def _lay_out(folder: Path, files: dict[str, bytes], source: random.Random) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        if name.endswith("-wal") and source.random() < 0.3:
            # What a map left on the disk is anything.
            (folder / f"{name.removesuffix('-wal')}-shm").write_bytes(source.randbytes(32768))


@contextmanager
def _scratch() -> Iterator[Path]:
    """In memory where there is such a place: every cut is a folder of files that are synced again."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m crash.power_cut", description="Cut the power at every write of a workload."
    )
    parser.add_argument(
        "--workload", default=JOURNAL, help=f"a module as crash/recorded.py says; default {JOURNAL}"
    )
    parser.add_argument("--seeds", type=int, default=3, help="lives to record; default 3")
    parser.add_argument("--first-seed", type=int, default=1, help="default 1")
    parser.add_argument("--cuts", type=int, help="cuts a life, drawn by chance; default: all, in every fate")
    parser.add_argument("--option", action="append", default=[], help="handed to the workload; may be repeated")
    asked = parser.parse_args(arguments)
    if compiler() is None:
        print("power cut: cannot run: no C compiler (cc) on this machine", file=sys.stderr)
        return 2
    total = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        recorder = build_recorder(Path(folder))
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            one = cut_everywhere(asked.workload, seed, recorder, most_cuts=asked.cuts, options=asked.option)
            total.seeds += 1
            total.events += one.events
            total.syncs += one.syncs
            total.acknowledgements += one.acknowledgements
            total.cuts += one.cuts
            total.broken += one.broken
    print(f"power cut  {asked.workload.removeprefix('crash.').removesuffix('_workload')}  {total}")
    for line in total.broken[:_SHOWN]:
        print(f"  {line}")
    return 1 if total.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
