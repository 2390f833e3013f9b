"""What became of one frame, as the device saw it: one line of its results file, read by `infer`, demo and bench."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, isnan
from pathlib import Path
from typing import Literal

from tercet.documents import Document
from tercet.emulated_pace import MOST
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb


class VerdictRecord(Document):
    """What a stage of a cascade made of its answer: sure enough (`score` ≥ `threshold`) or not.

    `exited`: the frame's answer is this stage's. `audited`: sure enough, but escalated to check. `threshold` is
    None where the exit was closed.
    """

    stage: int
    score: float
    threshold: float | None
    exited: bool
    audited: bool

    @classmethod
    def from_wire(cls, verdict: pb.ExitVerdict) -> VerdictRecord | None:
        """None for what a peer says without sense."""
        if not isfinite(verdict.score) or isnan(verdict.threshold):
            return None
        return cls(
            stage=verdict.stage,
            score=verdict.score,
            threshold=verdict.threshold if isfinite(verdict.threshold) else None,
            exited=verdict.exited,
            audited=verdict.audited,
        )


class VisitRecord(Document):
    """One tier's share of a frame's way. Times in ms; see Visit in protos/tercet/v1/frame.proto.

    `emulated_slowdown` is over 1 where the tier pretended to be a slower machine; its times are then emulated.
    """

    tier: Tier
    node: str
    from_boundary: int
    to_boundary: int
    received_bytes: int
    queue_ms: float
    decode_ms: float
    compute_ms: float
    encode_ms: float
    total_ms: float
    beyond_ms: float
    batch_size: int
    emulated_slowdown: float = 1.0
    verdict: VerdictRecord | None = None

    @classmethod
    def from_wire(cls, visit: pb.Visit) -> VisitRecord | None:
        """None for a tier that only newer versions know."""
        tier = Tier.from_wire(visit.tier)
        if tier is None:
            return None
        return cls(
            tier=tier,
            node=visit.node,
            from_boundary=visit.from_boundary,
            to_boundary=visit.to_boundary,
            received_bytes=visit.received_bytes,
            queue_ms=visit.queue_us / 1000,
            decode_ms=visit.decode_us / 1000,
            compute_ms=visit.compute_us / 1000,
            encode_ms=visit.encode_us / 1000,
            total_ms=visit.total_us / 1000,
            beyond_ms=visit.beyond_us / 1000,
            batch_size=visit.batch_size,
            emulated_slowdown=_slowdown(visit.emulated_slowdown),
            verdict=VerdictRecord.from_wire(visit.verdict) if visit.HasField("verdict") else None,
        )


def _slowdown(claimed: float) -> float:
    """What a peer says of its emulation: 1 for none and for nonsense."""
    return claimed if 1 < claimed <= MOST else 1.0


class FrameRecord(Document):
    """One frame. `error` is set if nobody answered it; `degraded` if somebody else than planned did.

    `cascade` names the one the frame was of, if any; `stage` whose answer it got, None if nobody's. A durable frame
    has no answer: `acknowledged` says that it is on the device's disk, and its result is stored in the cloud.
    """

    node: str
    sequence: int
    source: str
    model: str
    plan: str
    delivery: Literal["realtime", "durable"] = "realtime"
    acknowledged: bool = False
    cascade: str | None = None
    stage: int | None = None
    latency_ms: float
    # When the answer was there, in seconds of the device's monotonic clock.
    ended_s: float = 0.0
    visits: tuple[VisitRecord, ...] = ()
    degraded: bool = False
    reason: str = ""
    label_index: int | None = None
    label: str | None = None
    confidence: float | None = None
    error_kind: str | None = None
    error: str | None = None

    def visit(self, tier: Tier) -> VisitRecord | None:
        return next((visit for visit in self.visits if visit.tier == tier), None)

    @property
    def started_s(self) -> float:
        """When the agent took the frame, on the clock of `ended_s`."""
        return self.ended_s - self.latency_ms / 1000

    @property
    def route(self) -> str:
        """Tiers with the boundaries each went between: "device 0→1 · edge 1→2 · cloud 2→3"."""
        steps = [f"{visit.tier} {visit.from_boundary}→{visit.to_boundary}" for visit in self.visits]
        return " · ".join(steps) + (" (degraded)" if self.degraded else "")

    def link_ms(self, sender: Tier, receiver: Tier) -> float | None:
        """Both ways over one link: the sender's wait less the receiver's time. None if it was not used."""
        near, far = self.visit(sender), self.visit(receiver)
        return max(0.0, near.beyond_ms - far.total_ms) if near and far else None


def read_records(path: Path) -> Iterator[FrameRecord]:
    """The records of a results file, one JSON object a line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield FrameRecord.model_validate_json(line)
