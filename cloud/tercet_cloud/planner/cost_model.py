"""Measurements and a topology made into linear costs: what every codec pair costs on every cut.

Pure arithmetic. A tier's own coding times are those of the coding table times the tier's slow-down.
"""

from __future__ import annotations

from dataclasses import dataclass

from tercet_cloud.planner.candidate import Candidate, Prediction
from tercet_cloud.planner.coding_table import CodingTable
from tercet_cloud.planner.cut_graph import CutGraph
from tercet_cloud.planner.exact import CutProblem
from tercet_cloud.planner.linear_cost import Float64Array
from tercet_cloud.planner.topology import Constraints, Topology


@dataclass(frozen=True)
class ModelMeasurements:
    """One model on all tiers, before any topology's stated slow-down.

    Attributes:
        op_ms: (3, operations) calibrated times by tier.
        session_ms: by tier, of one more session.
        weights_bytes: (operations,) weights an operation needs.
        activation_bytes: (operations,) its outputs, raw.
        runtime_bytes: what the device's process needs before any weights.
    """

    graph: CutGraph
    op_ms: Float64Array
    session_ms: tuple[float, float, float]
    weights_bytes: Float64Array
    activation_bytes: Float64Array
    runtime_bytes: float
    coding: CodingTable


class CostModel:
    """Prices candidates under one topology.

    Promise: for every candidate, `problem(codecs)`'s additive cost of its assignment equals the objective computed
    from `predict(candidate)`, except that a frame handed on by the edge is priced there as if coded anew.
    """

    def __init__(self, measurements: ModelMeasurements, topology: Topology) -> None:
        self.measurements = measurements
        self.topology = topology

    def codec_pairs(self) -> list[tuple[str, str]]:
        """Pairs of menu titles worth solving."""
        raise NotImplementedError

    def problem(self, codecs: tuple[str, str], constraints: Constraints) -> CutProblem:
        """The cut problem of one codec pair; accuracy is not among its limits."""
        raise NotImplementedError

    def pass_through_problem(self, codec: str, constraints: Constraints) -> CutProblem:
        """The same where the edge only hands frames on: one cut for both links, coded once."""
        raise NotImplementedError

    def predict(self, candidate: Candidate) -> Prediction:
        """What one frame costs."""
        raise NotImplementedError

    def value(self, prediction: Prediction) -> float:
        """The objective."""
        raise NotImplementedError

    def broken(self, prediction: Prediction, candidate: Candidate, constraints: Constraints) -> str | None:
        """Which constraint (accuracy aside) a candidate breaks and by how much, in words; None if none."""
        raise NotImplementedError
