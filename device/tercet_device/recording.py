"""Gives one shot to the agent as a durable frame, and records that it is acknowledged.

A full outbox holds the source back: photos wait, they are not dropped.
"""

from __future__ import annotations

import asyncio
import time

from tercet.clock import Lap
from tercet.errors import SpecError, TercetError
from tercet.frame_record import FrameRecord
from tercet.models.card import ImageInput, ModelCard
from tercet.models.photos import preprocess, read_photo
from tercet_device.agent import DeviceAgent
from tercet_device.photo_source import Shot
from tercet_device.shooting import ShotResult


class Recorder:
    """Feeds photos to an agent's outbox, as the model's card says. SpecError if the model does not take photos."""

    def __init__(self, agent: DeviceAgent, card: ModelCard) -> None:
        if not isinstance(card.input, ImageInput):
            raise SpecError(f"model {card.name} takes {card.input.kind}s, not photos: give it another source")
        self._agent = agent
        self._input = card.input

    async def shoot(self, shot: Shot, number: int) -> ShotResult:
        """Read, preprocess and record one photo. Errors become part of the result; a full outbox is waited for.

        Args:
            number: names the frame if it never got as far as a sequence number.
        """
        lap = Lap()
        try:
            image = await asyncio.to_thread(lambda: preprocess(read_photo(shot.photo), self._input))
            lap.take()
            inputs = {self._input.tensor: image}
            sequence = await self._agent.deliver(inputs, shot.plan, wait_for_room=True)
        except TercetError as error:
            return ShotResult(self._line(shot, number, lap, error), None, error)
        return ShotResult(self._line(shot, sequence, lap, None), None, None)

    def _line(self, shot: Shot, sequence: int, lap: Lap, error: TercetError | None) -> FrameRecord:
        return FrameRecord(
            node=self._agent.node,
            sequence=sequence,
            source=str(shot.photo),
            model=self._agent.model.manifest.ref,
            plan=shot.plan.id if shot.plan else "",
            delivery="durable",
            acknowledged=error is None,
            latency_ms=lap.take() / 1000,
            ended_s=time.monotonic(),
            error_kind=type(error).__name__ if error else None,
            error=str(error) if error else None,
        )
