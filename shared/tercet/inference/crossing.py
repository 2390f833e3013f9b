"""What sessions over a cut model take and give, in bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tercet.codecs.codec import Array
from tercet.models.manifest import Manifest
from tercet.profile_fit import MeasuredSpan


class Crossing:
    """The sizes at the boundaries of one manifest.

    Args:
        tensors: those at each boundary.
    """

    def __init__(self, manifest: Manifest, tensors: Sequence[Mapping[str, Array]]) -> None:
        self._manifest = manifest
        self._sizes = [{name: array.nbytes for name, array in boundary.items()} for boundary in tensors]

    @property
    def boundary_bytes(self) -> tuple[int, ...]:
        """Raw bytes of all tensors at each boundary."""
        return tuple(sum(sizes.values()) for sizes in self._sizes)

    def session(self, start: int, stop: int, ms: float | np.floating) -> MeasuredSpan:
        """A measurement of one session over segments [start, stop)."""
        return MeasuredSpan(start, stop, float(ms), self._session_bytes(start, stop) / 1e6)

    def chain(self, start: int, stop: int, ms: float | np.floating) -> MeasuredSpan:
        """A measurement of one session for each of the segments [start, stop)."""
        total = sum(self._session_bytes(index, index + 1) for index in range(start, stop))
        return MeasuredSpan(start, stop, float(ms), total / 1e6, stop - start)

    def _session_bytes(self, start: int, stop: int) -> int:
        """What is carried past a session costs it nothing."""
        segments = self._manifest.segments[start:stop]
        read = {name for segment in segments for name in segment.inputs}
        made = {name for segment in segments for name in segment.outputs}
        taken = sum(size for name, size in self._sizes[start].items() if name in read)
        return taken + sum(size for name, size in self._sizes[stop].items() if name in made)
