"""Sends one shot through the agent and records what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tercet.cascade.open_cascade import OpenCascade
from tercet.clock import Lap
from tercet.codecs.codec import Array
from tercet.errors import SpecError, TercetError
from tercet.frame_record import FrameRecord, VisitRecord
from tercet.models.card import ImageInput, ModelCard
from tercet.models.classification import classify
from tercet.models.photos import preprocess, read_photo
from tercet.wire.messages import Answer
from tercet_device.agent import DeviceAgent
from tercet_device.photo_source import Shot


@dataclass(frozen=True)
class ShotResult:
    """The record of a shot and, if it was answered, the model's outputs."""

    record: FrameRecord
    outputs: Mapping[str, Array] | None
    failure: TercetError | None


class Shooter:
    """Feeds photos to an agent, as the model's card says. SpecError if the model does not take photos.

    Args:
        card: of the agent's model, or of the input of its cascade.
        cascade: the agent's, if it runs one.
    """

    def __init__(self, agent: DeviceAgent, card: ModelCard, cascade: OpenCascade | None = None) -> None:
        if not isinstance(card.input, ImageInput):
            raise SpecError(f"model {card.name} takes {card.input.kind}s, not photos: give it another source")
        self._agent = agent
        self._card = card
        self._cascade = cascade
        self._input = card.input

    async def shoot(self, shot: Shot, number: int) -> ShotResult:
        """Read, preprocess and infer one photo. Errors become part of the result.

        Args:
            number: names the frame if it never got as far as a sequence number.
        """
        lap = Lap()
        try:
            image = await asyncio.to_thread(lambda: preprocess(read_photo(shot.photo), self._input))
            lap.take()
            answer = await self._agent.infer({self._input.tensor: image}, shot.plan)
            latency_ms = lap.take() / 1000
            outputs = None if answer.refusal else answer.outputs()
        except TercetError as error:
            return ShotResult(self._failed(shot, number, lap.take() / 1000, error), None, error)
        return ShotResult(self._answered(shot, answer, outputs, latency_ms), outputs, answer.refusal)

    def _answered(
        self, shot: Shot, answer: Answer, outputs: Mapping[str, Array] | None, latency_ms: float
    ) -> FrameRecord:
        header, refusal = answer.header, answer.refusal
        cascade = self._cascade
        output = cascade.output_of(header.model) if cascade else self._card.output
        scores = outputs.get(output) if outputs and output else None
        best = classify(scores) if scores is not None and self._card.labels else None
        return FrameRecord(
            node=header.node,
            sequence=header.sequence,
            source=str(shot.photo),
            model=header.model,
            plan=header.plan,
            cascade=cascade.ref if cascade else None,
            stage=cascade.answering_stage(answer) if cascade else None,
            latency_ms=latency_ms,
            ended_s=time.monotonic(),
            visits=tuple(
                record for visit in header.route.visits if (record := VisitRecord.from_wire(visit)) is not None
            ),
            degraded=header.route.degraded,
            reason=header.route.reason,
            label_index=best.index if best else None,
            label=self._card.labels[best.index] if best and self._card.labels else None,
            confidence=best.confidence if best else None,
            error_kind=type(refusal).__name__ if refusal else None,
            error=str(refusal) if refusal else None,
        )

    def _failed(self, shot: Shot, number: int, latency_ms: float, error: TercetError) -> FrameRecord:
        return FrameRecord(
            node=self._agent.node,
            sequence=number,
            source=str(shot.photo),
            model=self._agent.model.manifest.ref,
            plan=shot.plan.id if shot.plan else "",
            cascade=self._cascade.ref if self._cascade else None,
            latency_ms=latency_ms,
            ended_s=time.monotonic(),
            error_kind=type(error).__name__,
            error=str(error),
        )
