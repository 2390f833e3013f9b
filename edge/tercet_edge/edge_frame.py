"""One frame at the edge, while it is there."""

from __future__ import annotations

from dataclasses import dataclass

from tercet.cascade.open_cascade import OpenStage
from tercet.clock import Lap
from tercet.cut_model import CutModel
from tercet.inference.shared_run import RunKey
from tercet.plans import Plan
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Frame


@dataclass
class EdgeFrame:
    """Where its plan takes the frame, and the clocks of its visit.

    `stage` if it is to be computed as a stage of a cascade, whose input is made from the one that crossed.
    `fallback` False: if the cloud cannot answer, its part is not computed here.
    """

    frame: Frame
    model: CutModel
    plan: Plan
    visit: pb.Visit
    arrived: Lap
    stage: OpenStage | None = None
    fallback: bool = True


def run_key(
    header: pb.FrameHeader, model: CutModel, start: int, stop: int, *, staged: bool = False
) -> RunKey | None:
    """What frames must share to be computed together, known before they are decoded; None: alone.

    Args:
        staged: computed as a stage of the header's cascade, which makes another input of equal shapes.
    """
    if not model.manifest.batchable:
        return None
    shapes = sorted((tensor.name, tensor.dtype, tuple(tensor.shape)) for tensor in header.tensors)
    rows = {shape[0] if shape else None for _, _, shape in shapes}
    of = header.cascade if staged else ""
    return (model.manifest.ref, start, stop, of, *shapes) if len(rows) == 1 and None not in rows else None
