"""What an operator states of a fleet: models, edges, cloud and cohorts of equal devices, in `fleet.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from tercet.documents import Document, read_document
from tercet.identifiers import Name
from tercet_cloud.planner.costs.topology import (
    Constraints,
    Count,
    LinkSpec,
    NotNegative,
    Number,
    Objective,
    Positive,
    TierSpec,
    Weights,
)

# Above this a queue in front of a resource grows without end at the least burst.
_MOST_SHARE = 0.95
# Of one cohort; counts stay exact in the solver's numbers.
_MOST_DEVICES = 100_000_000

Place = tuple[str | int, ...]


class FleetModel(Document):
    """A model that cohorts run.

    Attributes:
        topology: file relative to the fleet file: profiles, slow-downs and powers of the tiers; device, link,
            constraints and objective for what the fleet file leaves open. Its edge's cores and memory, and its
            link to the cloud, are the fleet file's.
    """

    topology: Path


class EdgeSpec(Document):
    """One edge, shared by the cohorts attached to it.

    Attributes:
        cores: frames computed at once.
        memory_mb: for the weights of all blocks that it loads, and the activations of each model; None: no limit.
        slowdown: of each model's edge profile; None: what the model's topology states.
        uplink: to the cloud, shared by all frames that go on; each is timed as if it had the link to itself.
        price_per_core_hour: money, counted for the time that frames keep a core busy.
    """

    name: Name
    cores: Count = 1
    memory_mb: Positive | None = None
    slowdown: Positive | None = None
    uplink: LinkSpec
    price_per_core_hour: NotNegative = 0.0


class CloudSpec(Document):
    """What the whole fleet may use of the cloud. `cores`: frames computed at once; None: no limit."""

    cores: Count | None = None
    price_per_core_hour: NotNegative = 0.0


class Cohort(Document):
    """Devices that are alike.

    Attributes:
        model: one of the fleet's; may be left out if there is one only.
        frames_per_second: of one device, on average.
        edges: names of the edges that its devices may attach to; they are divided among them.
        device, link, constraints: None: as the model's topology states.
    """

    name: Name
    model: Name | None = None
    devices: Annotated[int, Field(strict=True, ge=1, le=_MOST_DEVICES)]
    frames_per_second: Positive
    edges: Annotated[tuple[Name, ...], Field(min_length=1)]
    device: TierSpec | None = None
    link: LinkSpec | None = None
    constraints: Constraints | None = None


class UpgradeStep(Document):
    """How much one buys at once, and what that costs; prices count only if every step has one."""

    step: Positive
    price: Positive | None = None


class Upgrades(Document):
    """What may be bought, for the ranking of what to buy next."""

    edge_cores: UpgradeStep = UpgradeStep(step=1)
    edge_memory_mb: UpgradeStep = UpgradeStep(step=256)
    uplink_mbps: UpgradeStep = UpgradeStep(step=10)
    downlink_mbps: UpgradeStep = UpgradeStep(step=10)
    cloud_cores: UpgradeStep = UpgradeStep(step=1)


class Fleet(Document):
    """`fleet.yaml`.

    Attributes:
        objective: of one frame, summed over all frames; None: what the topologies state, if they agree.
        utilisation: the part of cores and links that plans may use, so that frames seldom wait for one another.
        divide_cohorts: whether a cohort's devices may have different plans and edges.
    """

    format: Literal[1] = 1
    name: str = "fleet"
    # Said wherever figures of this fleet are shown.
    note: str = ""
    objective: Objective | None = None
    utilisation: Annotated[Number, Field(gt=0, le=_MOST_SHARE)] = 0.7
    divide_cohorts: Annotated[bool, Field(strict=True)] = True
    models: Annotated[dict[Name, FleetModel], Field(min_length=1)]
    cloud: CloudSpec = CloudSpec()
    edges: Annotated[tuple[EdgeSpec, ...], Field(min_length=1)]
    cohorts: Annotated[tuple[Cohort, ...], Field(min_length=1)]
    upgrades: Upgrades = Upgrades()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            InitErrorDetails(type=PydanticCustomError("fleet", "{words}", {"words": words}), loc=place, input=None)
            for place, words in self._problems()
        ]
        if problems:
            raise ValidationError.from_exception_data("Fleet", problems)
        return self

    def model_of(self, cohort: Cohort) -> str:
        return cohort.model or next(iter(self.models))

    @property
    def devices(self) -> int:
        return sum(cohort.devices for cohort in self.cohorts)

    @property
    def frames_per_second(self) -> float:
        return sum(cohort.devices * cohort.frames_per_second for cohort in self.cohorts)

    def _problems(self) -> Iterator[tuple[Place, str]]:
        """What contradicts itself, and where."""
        if weighs_throughput(self.objective):
            yield ("objective",), "a fleet's frame rates are given, so throughput is no objective of it"
        edges = [edge.name for edge in self.edges]
        if "cloud" in edges:
            yield ("edges", edges.index("cloud"), "name"), "an edge cannot be called cloud"
        for kind, names in (("edges", edges), ("cohorts", [cohort.name for cohort in self.cohorts])):
            for index, name in enumerate(names):
                if name in names[:index]:
                    yield (kind, index, "name"), f"{name!r} stands here twice"
        for index, cohort in enumerate(self.cohorts):
            if cohort.model is None and len(self.models) > 1:
                yield ("cohorts", index, "name"), f"say which model it runs: {', '.join(self.models)}"
            if cohort.model is not None and cohort.model not in self.models:
                known = ", ".join(self.models)
                yield ("cohorts", index, "model"), f"{cohort.model!r} is not one of models ({known})"
            for place, name in enumerate(cohort.edges):
                if name not in edges:
                    yield ("cohorts", index, "edges", place), f"{name!r} is not one of edges"
                if name in cohort.edges[:place]:
                    yield ("cohorts", index, "edges", place), f"{name!r} stands here twice"


def weighs_throughput(objective: Objective | None) -> bool:
    return objective == "throughput" or (isinstance(objective, Weights) and objective.throughput_ms > 0)


def read_fleet(path: Path) -> Fleet:
    """NotFoundError, or SpecError naming the line."""
    return read_document(Fleet, path)
