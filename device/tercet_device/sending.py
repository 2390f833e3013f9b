"""Sends a device's photos, a few at once and at a rate, and goes on where it was with another generation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tercet.plans import Plan
from tercet_device.photo_source import Shot, schedule_shots
from tercet_device.results import Results
from tercet_device.shooting import ShotResult

Shoot = Callable[[Shot, int], Awaitable[ShotResult]]


class Sending:
    """Of one device.

    Args:
        frames: to send in all; 0: each photo once by each plan.
        window: under way at once.
        rate_hz: started a second; 0: as fast as they are answered.
    """

    def __init__(
        self, photos: Sequence[Path], results: Results, *, frames: int, window: int, rate_hz: float
    ) -> None:
        self._photos = photos
        self._results = results
        self._frames = frames
        self._window = window
        self._rate_hz = rate_hz
        self._started = 0

    async def send_rest(self, shoot: Shoot, plans: Sequence[Plan | None], drain_s: Callable[[], float]) -> None:
        """Send what has not been sent yet, and wait for it.

        Args:
            drain_s: on cancellation, how long those under way may take to finish.
        """
        shots = itertools.islice(schedule_shots(self._photos, plans, self._frames), self._started, None)
        places = asyncio.Semaphore(self._window)
        tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        next_s = loop.time()

        async def send(shot: Shot, number: int) -> None:
            try:
                self._results.add(await shoot(shot, number))
            finally:
                places.release()

        try:
            for shot in shots:
                await places.acquire()
                if self._rate_hz:
                    await asyncio.sleep(next_s - loop.time())
                    next_s = max(next_s + 1 / self._rate_hz, loop.time() - 1)
                # Counted once it cannot be lost to a cancellation any more.
                self._started += 1
                task = asyncio.create_task(send(shot, self._started))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if tasks:
                # Each is bounded by the frame's deadline.
                await asyncio.wait(tasks)
        finally:
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=drain_s())
                for task in late:
                    task.cancel()
