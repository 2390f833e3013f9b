"""What an operator states: tiers, links, constraints and objective, in `topology.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, model_validator

from tercet.documents import Document, read_document
from tercet.tiers import Tier

# Beyond these nothing is meant, and sums of costs stay numbers.
_LARGEST, _SMALLEST = 1e9, 1e-6


def _not_tiny(value: float) -> float:
    if value < _SMALLEST:
        raise ValueError(f"must be at least {_SMALLEST:g}, not {value:g}")
    return value


def _no_truth(value: object) -> object:
    """YAML reads `yes` as true, which pydantic would take for 1."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {str(value).lower()}")
    return value


Number = Annotated[FiniteFloat, BeforeValidator(_no_truth)]
Positive = Annotated[Number, Field(gt=0, le=_LARGEST), AfterValidator(_not_tiny)]
NotNegative = Annotated[Number, Field(ge=0, le=_LARGEST)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[int, BeforeValidator(_no_truth), Field(ge=1, le=1_000_000)]


class TierSpec(Document):
    """One tier's machine.

    Attributes:
        profile: file of `tercet profile`, relative to the topology; None: the profile measured on this machine.
        slowdown: the machine is this many times slower than its profile; a stated factor, shown in every report.
        memory_mb: for weights and activations; None: no limit.
        active_power_w: drawn while computing and coding.
        cores: frames computed at once; what throughput is divided by.
    """

    profile: Path | None = None
    slowdown: Positive = 1.0
    memory_mb: Positive | None = None
    active_power_w: NotNegative = 0.0
    cores: Count = 1


class LinkSpec(Document):
    """One link.

    Attributes:
        up_mbps, down_mbps: towards the cloud, and back; 10^6 bits per second of payload.
        round_trip_ms: of the network alone.
        overhead_ms: what messaging on this link costs a frame in all, both ways, beside round trip and bytes:
            brokers, event loops, serving (`tercet bench hops` measures it).
        cost_per_mb: money per 10^6 bytes up.
        transmit_power_w: drawn by the sending side while sending; counted for the device–edge link.
    """

    up_mbps: Positive
    down_mbps: Positive
    round_trip_ms: NotNegative = 0.0
    overhead_ms: NotNegative = 0.0
    cost_per_mb: NotNegative = 0.0
    transmit_power_w: NotNegative = 0.0


class Tiers(Document):
    device: TierSpec = TierSpec()
    edge: TierSpec = TierSpec()
    cloud: TierSpec = TierSpec()

    def of(self, tier: Tier) -> TierSpec:
        found: TierSpec = getattr(self, tier.value)
        return found


class Links(Document):
    device_edge: LinkSpec
    edge_cloud: LinkSpec


class Constraints(Document):
    """What a plan must keep; None: no limit.

    Attributes:
        max_accuracy_drop: held against the upper 95 % bound of the drop that was measured.
        private_input: the raw input never leaves the device.
    """

    deadline_ms: Positive | None = None
    max_accuracy_drop: Share | None = 0.05
    max_device_memory_mb: Positive | None = None
    max_device_energy_mj: Positive | None = None
    private_input: Annotated[bool, Field(strict=True)] = False


class Weights(Document):
    """An objective of several parts: the sum of weight × part, each in the unit of its name.

    `throughput_ms` weighs the bottleneck stage.
    """

    latency_ms: NotNegative = 0.0
    throughput_ms: NotNegative = 0.0
    energy_mj: NotNegative = 0.0
    device_edge_kb: NotNegative = 0.0
    edge_cloud_kb: NotNegative = 0.0
    cost: NotNegative = 0.0

    @model_validator(mode="after")
    def _wants_something(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("an objective of weights needs one above 0")
        return self


Objective = Literal["latency", "throughput", "energy", "bytes"] | Weights


class Topology(Document):
    """`topology.yaml`."""

    format: Literal[1] = 1
    name: str = "topology"
    # Said wherever figures from this topology are shown, e.g. that a link is shaped on one machine.
    note: str = ""
    tiers: Tiers = Tiers()
    links: Links
    constraints: Constraints = Constraints()
    objective: Objective = "latency"


def read_topology(path: Path) -> Topology:
    """NotFoundError, or SpecError naming the line."""
    return read_document(Topology, path)
