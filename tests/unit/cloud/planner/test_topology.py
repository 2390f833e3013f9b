"""A topology says what it means, or is refused with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tercet.errors import SpecError
from tercet_cloud.planner.costs.topology import Topology, Weights, read_topology

EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "topology.yaml"
LINKS = """\
links:
  device_edge: {up_mbps: 10, down_mbps: 10}
  edge_cloud:
    up_mbps: 50
    down_mbps: 50
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "topology.yaml"


def test_the_example_is_a_topology() -> None:
    topology = read_topology(EXAMPLE)
    assert topology.links.edge_cloud.round_trip_ms == 35
    assert topology.constraints.deadline_ms == 250
    assert topology.objective == "latency"


def test_the_example_names_every_key_there_is() -> None:
    text = EXAMPLE.read_text()
    known = {*Topology.model_fields}
    for field in ("tiers", "links", "constraints"):
        model = Topology.model_fields[field].annotation
        assert model is not None
        known |= {*model.model_fields}
        for inner in model.model_fields.values():
            known |= {*getattr(inner.annotation, "model_fields", {})}
    assert [key for key in sorted(known) if f"{key}:" not in text] == []


def test_links_alone_are_enough(path: Path) -> None:
    path.write_text(LINKS)
    topology = read_topology(path)
    assert topology.tiers.device.slowdown == 1
    assert topology.constraints.max_accuracy_drop == 0.05


def test_an_objective_may_be_weights(path: Path) -> None:
    path.write_text(LINKS + "objective: {latency_ms: 1, cost: 1000}")
    assert read_topology(path).objective == Weights(latency_ms=1, cost=1000)


@pytest.mark.parametrize(
    ("before", "after", "line", "problem"),
    [
        ("up_mbps: 50", "up_mbps: -3", 4, "links.edge_cloud.up_mbps: must be greater than 0, not -3"),
        ("up_mbps: 50", "up_mbps: 0", 4, "links.edge_cloud.up_mbps: must be greater than 0, not 0"),
        ("up_mbps: 50", "up_mbps: 1e-30", 4, "links.edge_cloud.up_mbps: must be at least 1e-06, not 1e-30"),
        (
            "up_mbps: 50",
            "up_mbps: 1.0e+300",
            4,
            "links.edge_cloud.up_mbps: must be less than or equal to 100",
        ),
        ("up_mbps: 50", "up_mbps: .nan", 4, "links.edge_cloud.up_mbps: must be a finite number, not nan"),
        ("up_mbps: 50", "up_mbps: .inf", 4, "links.edge_cloud.up_mbps: must be a finite number"),
        ("up_mbps: 50", "up_mbps: yes", 4, "links.edge_cloud.up_mbps: must be a number, not true"),
        ("up_mbps: 50", "up_mbps: fast", 4, "links.edge_cloud.up_mbps: must be a valid number, not 'fast'"),
        ("up_mbps: 50", "upmbps: 50", 3, "links.edge_cloud.up_mbps: Field required (and 1 more)"),
        ("    up_mbps: 50\n", "", 3, "links.edge_cloud.up_mbps: Field required"),
        ("up_mbps: 50", "up_mbps: 50\n    colour: red", 5, "links.edge_cloud.colour: unknown key"),
        ("links:", "tiers: {edge: {cores: 0}}\nlinks:", 1, "tiers.edge.cores: must be greater than or equal to 1"),
        ("links:", "tiers: {edge: {cores: 1.5}}\nlinks:", 1, "tiers.edge.cores: must be a valid integer"),
        ("links:", "tiers: {fog: {}}\nlinks:", 1, "tiers.fog: unknown key"),
        ("links:", "\nformat: 2\nlinks:", 2, "format: must be 1, not 2"),
        ("links:", "objective: fast\nlinks:", 1, "objective: must be 'latency', 'throughput', 'energy' or 'bytes'"),
        ("links:", "objective:\n  latency: 1\nlinks:", 2, "objective.latency: unknown key"),
        ("links:", "objective: {cost: 0}\nlinks:", 1, "objective: an objective of weights needs one above 0"),
        ("links:", "objective:\n  cost: -1\nlinks:", 2, "objective.cost: must be greater than or equal to 0"),
        (
            "links:",
            "constraints:\n  max_accuracy_drop: 5\nlinks:",
            2,
            "constraints.max_accuracy_drop: must be",
        ),
        (
            "links:",
            "constraints:\n  private_input: 1\nlinks:",
            2,
            "constraints.private_input: must be a",
        ),
        ("links:", "constraints:\n  deadline_ms: 0\nlinks:", 2, "constraints.deadline_ms: must be greater than 0"),
    ],
)
def test_an_impossible_topology_is_refused_with_the_line(
    path: Path, before: str, after: str, line: int, problem: str
) -> None:
    text = LINKS.replace(before, after)
    assert text != LINKS
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_topology(path)
    assert str(caught.value).startswith(f"{path}:{line}: {problem}")
    assert "\n" not in str(caught.value)
