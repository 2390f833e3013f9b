"""One frame at the edge, while it is there."""

from __future__ import annotations

from dataclasses import dataclass

from tercet.cascade.open_cascade import OpenStage
from tercet.clock import Lap
from tercet.cut_model import CutModel
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
