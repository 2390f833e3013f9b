"""A model cut at the boundaries of a bench, run in batches where it takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from tercet.codecs.codec import Array
from tercet.inference.segment_chain import SegmentChain
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet_cloud.models.slicing import slice_into_store

BATCH = 24

Frame = Mapping[str, Array]


class SplitRunner:
    """Frames (tensors by name, first axis 1) from boundary to boundary. Boundary 0 is the model's input."""

    def __init__(self, store: Store, card: ModelCard, boundaries: Sequence[Sequence[str]]) -> None:
        manifest = slice_into_store(store, card.name, boundaries)
        self.manifest = manifest
        self.last = len(manifest.segments)
        self._chain = SegmentChain(manifest, store, threads=min(4, os.cpu_count() or 1))
        self._batch = BATCH if manifest.batchable else 1

    def run(self, frames: Sequence[Frame], start: int, stop: int) -> list[dict[str, Array]]:
        """All frames, from boundary `start` to boundary `stop`."""
        results: list[dict[str, Array]] = []
        for first in range(0, len(frames), self._batch):
            part = frames[first : first + self._batch]
            if len(part) == 1:
                results.append(self._chain.run(part[0], start, stop))
                continue
            joined = {name: np.concatenate([frame[name] for frame in part]) for name in part[0]}
            outputs = self._chain.run(joined, start, stop)
            if any(array.shape[:1] != (len(part),) for array in outputs.values()):
                # A free first axis that does not count frames.
                self._batch = 1
                return self.run(frames, start, stop)
            results.extend(
                {name: array[index : index + 1] for name, array in outputs.items()} for index in range(len(part))
            )
        return results
