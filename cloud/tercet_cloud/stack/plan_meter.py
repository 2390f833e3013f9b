"""Frames really sent through a stack, plan by plan in turn: one device, one frame at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tercet.errors import InvariantError, UnavailableError
from tercet.frame_record import FrameRecord, read_records
from tercet_cloud.stack.local_stack import LocalStack

WARM_UP_FRAMES = 1
# Beyond what the frames themselves take.
START_S = 30.0
DEADLINE_MS = 20_000


@dataclass(frozen=True)
class PlanRun:
    """Plans of one deployment that take turns; each photo is sent once by every plan.

    `frames` of each plan are kept; `predicted_ms` is about how long the slowest takes.
    """

    deployment: Path
    plans: tuple[str, ...]
    frames: int
    predicted_ms: float


class PlanMeter:
    """Sends frames through a running stack.

    Args:
        photos: folder of at least as many photos as frames are asked for.
        results: folder for the records.
    """

    def __init__(self, stack: LocalStack, photos: Path, results: Path) -> None:
        self._stack = stack
        self._photos = photos
        self._results = results
        self._numbers = itertools.count(1)

    async def measure(self, run: PlanRun) -> Mapping[str, Sequence[FrameRecord]]:
        """The records of every plan, without the first that warm it up. All must come back as planned.

        Raises:
            UnavailableError: a frame was lost or took another way.
        """
        name = f"meter-{next(self._numbers)}"
        results = self._results / f"{name}.jsonl"
        count = (run.frames + WARM_UP_FRAMES) * len(run.plans)
        device = self._stack.start_device(
            name,
            [
                *("--source", str(self._photos), "--frames", str(count), "--results", str(results)),
                *("--no-fallback", "--deadline-ms", str(DEADLINE_MS)),
                *(argument for plan in run.plans for argument in ("--plan", plan)),
            ],
            deployment=run.deployment,
        )
        status = await device.wait_exit(START_S + count * (0.1 + 5 * run.predicted_ms / 1000))
        records = list(read_records(results)) if results.exists() else []
        if status or (wrong := [record for record in records if record.degraded]):
            said = device.last_words() if status else wrong[0].reason
            raise UnavailableError(f"{name} was not answered as planned: {said}; see {device.log}")
        if [record.plan for record in records[: len(run.plans)]] != list(run.plans):
            raise InvariantError(f"{name}: plans did not take turns as told; see {results}")
        measured = records[WARM_UP_FRAMES * len(run.plans) :]
        return {plan: [record for record in measured if record.plan == plan] for plan in run.plans}
