"""What a plan table is made for: link speeds, round trips and deadlines, as changes to a topology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Annotated, Self

from pydantic import Field, model_validator

from tercet.documents import Document
from tercet_cloud.planner.costs.topology import LinkSpec, NotNegative, Positive, Topology

MOST_CONDITIONS = 5000
_Many = Field(max_length=100)


class ConditionRange(Document):
    """A grid over what changes while a fleet runs. An empty list keeps what the topology says.

    Attributes:
        device_edge_mbps, edge_cloud_mbps: up-link speeds. The down-link changes in the same proportion.
        device_edge_round_trip_ms, edge_cloud_round_trip_ms: of the network alone.
        deadline_ms: in place of the topology's deadline.
    """

    device_edge_mbps: Annotated[tuple[Positive, ...], _Many] = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    edge_cloud_mbps: Annotated[tuple[Positive, ...], _Many] = (5.0, 25.0, 100.0)
    device_edge_round_trip_ms: Annotated[tuple[NotNegative, ...], _Many] = ()
    edge_cloud_round_trip_ms: Annotated[tuple[NotNegative, ...], _Many] = (5.0, 20.0, 60.0, 150.0)
    deadline_ms: Annotated[tuple[Positive, ...], _Many] = (50.0, 150.0, 500.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in type(self).model_fields:
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} must ascend: {', '.join(f'{value:g}' for value in values)}")
        count = prod(max(1, len(getattr(self, name))) for name in type(self).model_fields)
        if count > MOST_CONDITIONS:
            raise ValueError(f"{count} conditions in all; {MOST_CONDITIONS} is the most")
        return self

    def link_conditions(self, topology: Topology) -> Iterator[LinkCondition]:
        """Every combination of speeds and round trips."""
        links = (topology.links.device_edge, topology.links.edge_cloud)
        for values in product(
            self.device_edge_mbps or (links[0].up_mbps,),
            self.edge_cloud_mbps or (links[1].up_mbps,),
            self.device_edge_round_trip_ms or (links[0].round_trip_ms,),
            self.edge_cloud_round_trip_ms or (links[1].round_trip_ms,),
        ):
            yield LinkCondition(*values)

    def deadlines(self, topology: Topology) -> tuple[float | None, ...]:
        """In ms, ascending; (None,) for no deadline."""
        return self.deadline_ms or (topology.constraints.deadline_ms,)


@dataclass(frozen=True)
class LinkCondition:
    """One state of both links."""

    device_edge_mbps: float
    edge_cloud_mbps: float
    device_edge_round_trip_ms: float
    edge_cloud_round_trip_ms: float

    def applied_to(self, topology: Topology) -> Topology:
        """The topology with links like this."""
        links = topology.links
        return topology.model_copy(
            update={
                "links": links.model_copy(
                    update={
                        "device_edge": _changed(
                            links.device_edge, self.device_edge_mbps, self.device_edge_round_trip_ms
                        ),
                        "edge_cloud": _changed(
                            links.edge_cloud, self.edge_cloud_mbps, self.edge_cloud_round_trip_ms
                        ),
                    }
                )
            }
        )


@dataclass(frozen=True)
class Condition:
    """One state of both links, and what a frame's deadline is in it; None for no deadline."""

    links: LinkCondition
    deadline_ms: float | None


def _changed(link: LinkSpec, up_mbps: float, round_trip_ms: float) -> LinkSpec:
    down_mbps = link.down_mbps * up_mbps / link.up_mbps
    return link.model_copy(update={"up_mbps": up_mbps, "down_mbps": down_mbps, "round_trip_ms": round_trip_ms})
