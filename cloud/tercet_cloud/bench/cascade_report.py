"""What `tercet bench cascade` measured."""

from __future__ import annotations

from dataclasses import dataclass

from tercet.cascade.exit_rule import ScoreKind
from tercet_cloud.bench.cascade_rows import BreachRow, CleanRow, DriftRow, SavingRow


@dataclass(frozen=True)
class NetworkRow:
    """`ms`: one frame on one thread; `right`, `agreement` with the large one: shares of the pool."""

    name: str
    macs: int
    ms: float
    temperature: float
    train_s: float
    right: float
    agreement: float


@dataclass(frozen=True)
class CascadeReport:
    """Everything the bench measured."""

    command: str
    machine: str
    data: str
    trained_on: int
    pool: int
    calibration: int
    alpha: float
    delta: float
    share: float
    stream_score: ScoreKind
    phase_frames: int
    networks: tuple[NetworkRow, ...]
    savings: tuple[SavingRow, ...]
    refusals: tuple[str, ...]
    breaches: tuple[BreachRow, ...]
    clean: CleanRow
    drifts: tuple[DriftRow, ...]
    seconds: float
