"""What the demo's frames amount to: pure arithmetic over frame records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from tercet.codecs.codec import Array
from tercet.frame_record import FrameRecord
from tercet.tiers import Tier
from tercet_cloud.demo.cascade_figures import CascadeFigures
from tercet_cloud.demo.planned import PLANNED
from tercet_cloud.demo.setting import MAX_ACCURACY_DROP
from tercet_cloud.demo.step_figures import StepFigures
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.stack.memory import ProcessMemory

RAW_AGREEMENT = 1.0
LOSSY_AGREEMENT = 0.97
# The planner's own is what it is allowed at least.
_NEEDED = {"raw": RAW_AGREEMENT, PLANNED: 1 - MAX_ACCURACY_DROP}


@dataclass(frozen=True)
class Sample:
    """One photo for people to look at."""

    photo: str
    label: str
    confidence: float
    reference_label: str
    tiers: list[str]
    route: str
    degraded: bool
    latency_ms: float


@dataclass(frozen=True)
class ComparedPlan:
    """One plan as predicted, and as measured with one device and one frame at a time. Times in ms.

    `agreement` is with the uncut model on the planner's own frames. `note` says if it breaks a constraint.
    """

    plan: str
    route: str
    predicted_ms: float
    measured_ms: float
    frames: int
    device_edge_bytes: float
    agreement: float
    note: str


@dataclass(frozen=True)
class Summary:
    """The demo's result, written as summary.json. Times in ms, shares in 0…1, sizes in bytes."""

    model: str
    setting: str
    photos: int
    frames: int
    answered: int
    degraded: int
    lost: int
    lost_frames: list[str]
    agreement: dict[str, float]
    max_abs_error_raw: float
    latency_ms: dict[str, float]
    latency_ms_by_plan: dict[str, dict[str, float]]
    share_of_latency: dict[str, float]
    bytes_per_frame: dict[str, dict[str, float]]
    routes: dict[str, int]
    processes: list[dict[str, object]]
    plans: list[ComparedPlan]
    samples: list[Sample]
    failures: list[str]
    step: StepFigures | None = None
    cascade: CascadeFigures | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def summarise(
    records: Sequence[FrameRecord],
    outputs: Mapping[tuple[str, int], Array],
    reference: Mapping[str, Array],
    labels: Sequence[str],
    memory: Sequence[ProcessMemory],
    *,
    model: str,
    setting: str,
    expected_frames: int,
    plans: Sequence[ComparedPlan] = (),
    sample_count: int = 8,
) -> Summary:
    """Fold all frames of a demo into one summary.

    Args:
        outputs: scores (1, classes) by (node, sequence) of the answered frames.
        reference: scores (1, classes) of the uncut model by photo path.
        setting: in what circumstances the figures were taken, for the reader.
        expected_frames: how many should have been sent; those without a record are lost too.
        plans: as `compare_plans` gives them.
    """
    answered = [record for record in records if record.error is None]
    lost_frames = [f"{record.node}/{record.sequence} ({record.error})" for record in records if record.error]
    missing = expected_frames - len(records)
    if missing > 0:
        lost_frames.append(f"{missing} frames of which no device kept a record")
    sent = list(dict.fromkeys(record.plan for record in records))
    agreement = {
        plan: _mean(record.label_index == int(reference[record.source].argmax()) for record in _by(answered, plan))
        for plan in sent
    }
    errors = [
        _largest_difference(outputs[record.node, record.sequence], reference[record.source])
        for record in _by(answered, "raw")
    ]
    summary = Summary(
        model=model,
        setting=setting,
        photos=len(reference),
        frames=expected_frames,
        answered=len(answered),
        degraded=sum(record.degraded for record in answered),
        lost=len(lost_frames) - (1 if missing > 0 else 0) + max(0, missing),
        lost_frames=lost_frames,
        agreement=agreement,
        max_abs_error_raw=max(errors, default=float("nan")),
        latency_ms=_percentiles(answered),
        latency_ms_by_plan={plan: _percentiles(_by(answered, plan)) for plan in sent},
        share_of_latency=_shares(answered),
        bytes_per_frame={
            "device_edge": {plan: _mean_bytes(_by(answered, plan), Tier.EDGE) for plan in sent},
            "edge_cloud": {plan: _mean_bytes(_by(answered, plan), Tier.CLOUD) for plan in sent},
        },
        routes=_count(record.route for record in answered),
        processes=[asdict(process) for process in memory],
        plans=list(plans),
        samples=_samples(answered, reference, labels, sample_count),
        failures=[],
    )
    summary.failures.extend(find_failures(summary))
    return summary


def with_runtime(summary: Summary, step: StepFigures | None, cascade: CascadeFigures | None) -> Summary:
    """The summary with what the bandwidth step and the cascade showed, and what they broke."""
    broken = [failure for part in (step, cascade) if part for failure in part.failures]
    return replace(summary, step=step, cascade=cascade, failures=[*summary.failures, *broken])


def compare_plans(
    rows: Sequence[PlanRow], routes: Mapping[str, str], timed: Mapping[str, Sequence[FrameRecord]]
) -> list[ComparedPlan]:
    """Each plan's prediction beside the median of its frames."""
    return [
        ComparedPlan(
            plan=row.name,
            route=routes[row.name],
            predicted_ms=round(row.prediction.latency_ms, 2),
            measured_ms=_percentiles(timed[row.name])["p50"],
            frames=len(timed[row.name]),
            device_edge_bytes=round(row.prediction.device_edge_bytes),
            agreement=round(row.accuracy.agreement, 4) if row.accuracy else 1.0,
            note=row.broken or "",
        )
        for row in rows
    ]


def find_failures(summary: Summary) -> list[str]:
    """Every promise of the demo that this run broke; empty if it is a success."""
    failures = []
    if summary.lost or summary.answered != summary.frames:
        failures.append(f"{summary.frames - summary.answered} of {summary.frames} frames were not answered")
    if summary.degraded:
        failures.append(f"{summary.degraded} frames were answered by another tier than planned")
    for plan, agreement in summary.agreement.items():
        needed = _NEEDED.get(plan, LOSSY_AGREEMENT)
        if not agreement >= needed:
            failures.append(f"{plan} agrees with the uncut model on {agreement:.3f} of frames, {needed} needed")
    return failures


def time_split(record: FrameRecord) -> dict[str, float]:
    """Where one frame's latency went, in ms: every tier's own time, and each link both ways.

    Device time includes waiting for the event loop; a link's time is the sender's wait less the receiver's own.
    """
    split: dict[str, float] = {}
    device = record.visit(Tier.DEVICE)
    if device is None:
        return split
    split["device"] = record.latency_ms - device.beyond_ms
    for sender, receiver in ((Tier.DEVICE, Tier.EDGE), (Tier.EDGE, Tier.CLOUD)):
        if (link_ms := record.link_ms(sender, receiver)) is not None:
            split[f"{sender}_{receiver}"] = link_ms
        if (visit := record.visit(receiver)) is not None:
            split[receiver.value] = visit.total_ms - visit.beyond_ms
    return split


def _largest_difference(left: Array, right: Array) -> float:
    return float(np.abs(left.astype(np.float64) - right.astype(np.float64)).max())


def _by(records: Iterable[FrameRecord], plan: str) -> list[FrameRecord]:
    return [record for record in records if record.plan == plan]


def _percentiles(records: Sequence[FrameRecord]) -> dict[str, float]:
    latencies = [record.latency_ms for record in records]
    if not latencies:
        return {"p50": float("nan"), "p99": float("nan")}
    p50, p99 = np.percentile(latencies, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def _shares(records: Sequence[FrameRecord]) -> dict[str, float]:
    """The mean share of each tier and link in all frames' latency."""
    sums: dict[str, float] = {}
    for record in records:
        for part, part_ms in time_split(record).items():
            sums[part] = sums.get(part, 0) + part_ms
    total_ms = sum(sums.values())
    return {part: round(part_ms / total_ms, 4) for part, part_ms in sums.items()} if total_ms else {}


def _mean_bytes(records: Sequence[FrameRecord], receiver: Tier) -> float:
    """What `receiver` got per frame, headers included; 0 for frames that never went there."""
    visits = [record.visit(receiver) for record in records]
    return round(_mean(visit.received_bytes if visit else 0 for visit in visits), 1)


def _samples(
    records: Sequence[FrameRecord], reference: Mapping[str, Array], labels: Sequence[str], count: int
) -> list[Sample]:
    """One frame each of the first photos."""
    first: dict[str, FrameRecord] = {}
    for record in sorted(records, key=lambda record: record.source.rsplit("/", 1)[-1]):
        first.setdefault(record.source, record)
    return [
        Sample(
            photo=record.source.rsplit("/", 1)[-1],
            label=record.label or "",
            confidence=round(record.confidence or 0, 4),
            reference_label=labels[int(reference[record.source].argmax())],
            tiers=[visit.tier.value for visit in record.visits],
            route=record.route,
            degraded=record.degraded,
            latency_ms=round(record.latency_ms, 2),
        )
        for record in list(first.values())[:count]
    ]


def _count(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else float("nan")
