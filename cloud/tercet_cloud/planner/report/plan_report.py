"""Everything a report shows, computed before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.cuts.cut_graph import CutGraph


@dataclass(frozen=True)
class PlanRow:
    """One line of the table: the chosen plan, a baseline or another candidate.

    `broken` is None for a plan that keeps every constraint, else which it breaks and by how much. `note` says what
    a baseline is, with its source. `value` is the objective.
    """

    name: str
    candidate: Candidate
    prediction: Prediction
    value: float
    accuracy: MeasuredAccuracy | None
    broken: str | None = None
    note: str = ""


@dataclass(frozen=True)
class CutPoint:
    """Best latency when the device stops at `boundary` (one or more tensors), for the latency-by-cut curve."""

    boundary: tuple[str, ...]
    prediction: Prediction
    codecs: tuple[str, str]


@dataclass(frozen=True)
class MapCell:
    """The best plan at one speed and round trip of the device–edge link; `plan` indexes `PlanReport.map_plans`."""

    mbps: float
    round_trip_ms: float
    plan: int
    latency_ms: float


@dataclass(frozen=True)
class DrawnOperation:
    """An operation for the picture: type, median ms on each tier, weights."""

    name: str
    op_type: str
    tier_ms: tuple[float, float, float]
    weights_bytes: int


@dataclass(frozen=True)
class PlanReport:
    """A finished `tercet plan`.

    Attributes:
        circumstances: profiles, slow-downs, samples and whatever else the figures rest on; emulation is named here.
        objective: in words with its unit ("latency, ms").
        pareto: candidates of which no other is both quicker and lighter on the device–edge link.
        explanation: why the chosen plan won and the runner-up lost, a sentence a line.
        tensor_bytes: for the picture; raw bytes by tensor name.
        emulation: in one line what of the figures is emulated or stated rather than measured; shown with every
            picture. Empty if nothing is.
        constraints: what a plan has to keep, in words.
        coded_bytes: of the chosen plan, by link and name of a tensor that crosses it.
        stated_link: Mbit/s and round trip in ms of the topology's device–edge link, for the map.
    """

    model: str
    circumstances: tuple[str, ...]
    objective: str
    chosen: PlanRow
    baselines: tuple[PlanRow, ...]
    considered: tuple[PlanRow, ...]
    curve: tuple[CutPoint, ...]
    pareto: tuple[PlanRow, ...]
    map_plans: tuple[PlanRow, ...]
    map_cells: tuple[MapCell, ...]
    explanation: tuple[str, ...]
    graph: CutGraph
    operations: tuple[DrawnOperation, ...]
    tensor_bytes: Mapping[str, int]
    solve_ms: float
    emulation: str = ""
    constraints: tuple[str, ...] = ()
    coded_bytes: tuple[Mapping[str, float], Mapping[str, float]] = field(default_factory=lambda: ({}, {}))
    stated_link: tuple[float, float] | None = None
