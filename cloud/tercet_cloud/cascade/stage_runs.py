"""All stages of a cascade on the same frames, over the very path that serving takes.

The first stage on a device sees the input itself; every other stage sees what crossed, so coded and decoded as for
the wire. Frames are run in batches, as edge and cloud do under load; single runs differ by rounding only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from tercet.cascade.stage_input import adapt_input
from tercet.codecs import CodecContext
from tercet.codecs.codec import Array
from tercet.inference.quantise_kernel import static_kernel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet.wire.tensors import decode_tensors, encode_tensors
from tercet_cloud.measurement.split_runner import BATCH, Frame, SplitRunner


@dataclass(frozen=True)
class StageModel:
    """A stage to be: its card, its tier, and its whole model ready to run."""

    card: ModelCard
    tier: Tier
    runner: SplitRunner

    def answers(self, inputs: Sequence[Frame]) -> Array:
        """(frames, classes)."""
        return np.concatenate([found[self.card.output] for found in self.runner.run(inputs, 0, self.runner.last)])


class StageRuns:
    """Runs the stages, small to large."""

    def __init__(self, store: Store, stages: Sequence[StageModel]) -> None:
        self.stages = tuple(stages)
        self.picture = stages[-1].card
        image = self.picture.input if isinstance(self.picture.input, ImageInput) else None
        self._context = CodecContext(store, image, static_kernel())

    def outputs(self, frames: Iterable[Frame], spec: str) -> list[Array]:
        """Every stage's (frames, classes), with `spec` as the codec between stages."""
        found: list[list[Array]] = [[] for _ in self.stages]
        left = iter(frames)
        while batch := list(islice(left, BATCH)):
            crossed = [self.crossed(frame, spec)[0] for frame in batch]
            for stage, answers in zip(self.stages, found, strict=True):
                seen = batch if stage.tier == Tier.DEVICE else crossed
                inputs = [adapt_input(frame, self.picture.input, stage.card.input) for frame in seen]
                answers.append(stage.answers(inputs))
        return [np.concatenate(answers) for answers in found]

    def crossed(self, frame: Frame, spec: str) -> tuple[Frame, int]:
        """What the next tier gets, and its coded bytes."""
        headers, payloads = encode_tensors(frame, spec, self._context)
        views = [memoryview(payload) for payload in payloads]
        size_bytes = sum(map(len, views)) + sum(len(header.parameters) for header in headers)
        return decode_tensors(headers, views, self._context), size_bytes

    def last_answers(self, frames: Sequence[Frame]) -> Array:
        """The large model's (frames, classes) on inputs as they are."""
        return self.stages[-1].answers(frames)
