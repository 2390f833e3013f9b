"""Which codec the input crosses by: the cheapest one under which the large model still says the same.

Measured on some frames of the pilot, so that no frame that certifies an exit had a say in it. The share of changed
answers is an estimate, not a bound. It is held to half of α: frames that cross are harder than these, and stages
between see them coded too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tercet_cloud.cascade.stage_runs import StageRuns
from tercet_cloud.measurement.codec_menu import IMAGE_BASELINES
from tercet_cloud.measurement.split_runner import BATCH, Frame

TENSOR_MENU = ("raw", "fp16", "int8+zstd", "int4+zstd:19")
FRAMES = 160


@dataclass(frozen=True)
class EscalationRow:
    """`bytes_per_frame` coded; `changed`: share of `frames` on which the large model says something else than on
    the input itself."""

    codec: str
    bytes_per_frame: float
    changed: float
    frames: int


def measure_codecs(
    runs: StageRuns, frames: Sequence[Frame], menu: Sequence[str], tell: Callable[[str], None] = lambda _: None
) -> list[EscalationRow]:
    """One row a codec of the menu."""
    plain = _labels(runs, frames)
    rows = []
    for codec in menu:
        tell(codec)
        coded = [runs.crossed(frame, codec) for frame in frames]
        labels = _labels(runs, [frame for frame, _ in coded])
        size_bytes = sum(size for _, size in coded) / len(coded)
        rows.append(EscalationRow(codec, size_bytes, float((labels != plain).mean()), len(frames)))
    return rows


def menu_for(runs: StageRuns) -> tuple[str, ...]:
    return IMAGE_BASELINES if runs.picture.input.kind == "image" else TENSOR_MENU


def cheapest(rows: Sequence[EscalationRow], alpha: float) -> EscalationRow:
    """Of those that change at most half of `alpha` of the answers; the one that changes least if none does."""
    fitting = [row for row in rows if row.changed <= alpha / 2]
    if fitting:
        return min(fitting, key=lambda row: row.bytes_per_frame)
    return min(rows, key=lambda row: (row.changed, row.bytes_per_frame))


def _labels(runs: StageRuns, frames: Sequence[Frame]) -> npt.NDArray[np.int64]:
    parts = [runs.last_answers(frames[first : first + BATCH]) for first in range(0, len(frames), BATCH)]
    labels: npt.NDArray[np.int64] = np.argmax(np.concatenate(parts), axis=1)
    return labels
