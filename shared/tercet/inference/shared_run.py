"""Several frames through one run: joined along axis 0, and taken apart again.

ONNX Runtime's cost of a run is shared, and large matrix products are quicker per frame than small ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tercet.codecs.codec import Array
from tercet.errors import InvariantError
from tercet.inference.segment_chain import SegmentChain

Tensors = Mapping[str, Array]
# What frames must have in common to share a run; frames with None must run alone.
RunKey = tuple[object, ...]


def run_key(chain: SegmentChain, tensors: Tensors, start: int, stop: int) -> RunKey | None:
    """The key of a frame's run; None if the manifest fixes axis 0 or the frame's tensors differ in it."""
    if not chain.manifest.batchable or rows_of(tensors) is None:
        return None
    shapes = sorted((name, array.dtype.str, array.shape) for name, array in tensors.items())
    return (chain.manifest.ref, start, stop, *shapes)


def rows_of(tensors: Tensors) -> int | None:
    """The frame's own size along axis 0; None if its tensors do not share one."""
    sizes = {array.shape[0] if array.ndim else None for array in tensors.values()}
    return sizes.pop() if len(sizes) == 1 else None


def run_together(chain: SegmentChain, frames: Sequence[Tensors], start: int, stop: int) -> list[dict[str, Array]]:
    """Boundary `stop` of each frame, from one run; blocks. Frames must have one key.

    Raises:
        InvariantError: the model mixes the frames of a batch, so they must run one by one.
        Others as for `SegmentChain.run`.
    """
    first = frames[0]
    if len(frames) == 1:
        return [chain.run(first, start, stop)]
    rows = rows_of(first)
    joined: dict[str, Array] = {name: np.concatenate([frame[name] for frame in frames]) for name in first}
    outputs = chain.run(joined, start, stop)
    if rows is None or any(array.shape[:1] != (rows * len(frames),) for array in outputs.values()):
        raise InvariantError(f"model {chain.manifest.ref} mixes the frames of a batch")
    return [
        {name: array[place * rows : (place + 1) * rows] for name, array in outputs.items()}
        for place in range(len(frames))
    ]
