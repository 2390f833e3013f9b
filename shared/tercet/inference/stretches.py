"""Longer single sessions over parts of a cut model: what its calibration is fitted to and judged by.

They are segments of coarser cuts of the same model that lie in the same store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tercet.inference.segment_chain import SegmentChain
from tercet.models.manifest import Manifest
from tercet.models.store import Store

# More would take measuring time from the others.
_MOST_COARSER_CUTS = 4


@dataclass(frozen=True)
class Stretch:
    """Segments [start, stop) of the profiled cut in one file: segment `index` of `chain`.

    `fitted` ones are what the calibration has to meet, the others judge it.
    """

    start: int
    stop: int
    chain: SegmentChain
    index: int
    fitted: bool

    def load(self) -> None:
        self.chain.load([self.index])


def coarser_cuts(store: Store, manifest: Manifest) -> list[Manifest]:
    """Cuts of the same model in the store that only have boundaries of `manifest`, coarsest first, all files there.

    A manifest that cannot be read is passed over: it is not the one asked for.
    """
    known = {boundary.names for boundary in manifest.boundaries}
    found = [
        other
        for other in store.manifests(manifest.model)
        if other.model_sha256 == manifest.model_sha256
        and len(other.segments) < len(manifest.segments)
        and all(boundary.names in known for boundary in other.boundaries)
        and all(store.segment_path(segment.sha256).exists() for segment in other.segments)
    ]
    return sorted(found, key=lambda other: (len(other.segments), other.sha256))[:_MOST_COARSER_CUTS]


def find_stretches(store: Store, manifest: Manifest, *, threads: int, providers: Sequence[str]) -> list[Stretch]:
    """One stretch a segment of the coarser cuts, each only once, none of a single segment.

    The whole model and the cut into most parts are fitted; what is between them judges.
    """
    places = {boundary.names: index for index, boundary in enumerate(manifest.boundaries)}
    cuts = coarser_cuts(store, manifest)
    stretches: dict[tuple[int, int], Stretch] = {}
    for number, cut in enumerate(cuts):
        chain = SegmentChain(cut, store, threads=threads, providers=providers)
        fitted = number in (0, len(cuts) - 1)
        for index in range(len(cut.segments)):
            start, stop = places[cut.boundaries[index].names], places[cut.boundaries[index + 1].names]
            if stop - start > 1 and (start, stop) not in stretches:
                stretches[start, stop] = Stretch(start, stop, chain, index, fitted)
    return list(stretches.values())
