"""The fleet file: what it refuses, with the line, and the example in the docs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.planner_cases import chain_graph, random_measurements
from support.synthetic_accuracy import SyntheticAccuracy
from tercet.errors import NotFoundError, SpecError
from tercet_cloud.planner.costs.cost_model import CostModel
from tercet_cloud.planner.costs.topology import Links, LinkSpec, Topology
from tercet_cloud.planner.fleet.cohort_plans import plan_cohorts
from tercet_cloud.planner.fleet.fleet_file import Fleet, read_fleet
from tercet_cloud.planner.fleet.setting import resolve_fleet

EXAMPLE = Path(__file__).parents[5] / "docs/examples/fleet.yaml"
GOOD = """\
models:
  lite: {topology: topology.yaml}
edges:
  - name: depot
    uplink: {up_mbps: 10, down_mbps: 20}
cohorts:
  - name: gates
    devices: 3
    frames_per_second: 1
    edges: [depot]
"""


def read(tmp_path: Path, text: str) -> Fleet:
    path = tmp_path / "fleet.yaml"
    path.write_text(text, encoding="utf-8")
    return read_fleet(path)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    fleet = read(tmp_path, GOOD)
    assert (fleet.utilisation, fleet.divide_cohorts, fleet.cloud.cores) == (0.7, True, None)
    assert fleet.model_of(fleet.cohorts[0]) == "lite"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("devices: 3", "devices: 0"), 8, "greater than or equal to 1"),
        (("devices: 3", "devices: yes"), 8, "must be a valid integer"),
        (("frames_per_second: 1", "frames_per_second: .inf"), 9, "finite"),
        (("    frames_per_second: 1\n", "    frames_per_second: 1\n    rate: 1\n"), 10, "unknown key"),
        (("edges: [depot]", "edges: [depot, shed]"), 10, "'shed' is not one of edges"),
        (("edges: [depot]", "edges: [depot, depot]"), 10, "'depot' stands here twice"),
        (("edges: [depot]", "edges: []"), 10, "at least 1 item"),
        (("name: depot", "name: cloud"), 4, "an edge cannot be called cloud"),
        (("up_mbps: 10", "up_mbps: 0"), 5, "greater than 0"),
        (("    devices: 3", "    model: heavy\n    devices: 3"), 8, "'heavy' is not one of models"),
        (("models:\n", "models:\n  other: {topology: t.yaml}\n"), 8, "say which model it runs: other, lite"),
        (("models:", "utilisation: 1\nmodels:"), 1, "less than or equal to 0.95"),
        (("models:", "objective: throughput\nmodels:"), 1, "frame rates are given"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], line: int, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, GOOD.replace(*change))
    assert f"fleet.yaml:{line}: " in str(caught.value)
    assert words in str(caught.value)


def test_two_cohorts_of_one_name_are_refused(tmp_path: Path) -> None:
    cohort = GOOD.partition("cohorts:\n")[2]
    with pytest.raises(SpecError, match=r":11: cohorts\.1\.name: 'gates' stands here twice"):
        read(tmp_path, GOOD + cohort)


def topology(**changes: object) -> Topology:
    link = LinkSpec(up_mbps=1, down_mbps=1)
    return Topology(links=Links(device_edge=link, edge_cloud=link)).model_copy(update=changes)


def test_topologies_with_different_objectives_need_one_for_the_fleet(tmp_path: Path) -> None:
    text = GOOD.replace("models:\n", "models:\n  other: {topology: other.yaml}\n")
    fleet = read(tmp_path, text.replace("name: gates", "name: gates\n    model: lite"))

    def read_one(path: Path) -> Topology:
        return topology(objective="energy" if path.name == "other.yaml" else "latency")

    with pytest.raises(SpecError, match="different objectives: state `objective` in the fleet"):
        resolve_fleet(fleet, tmp_path, read_one)
    stated = fleet.model_copy(update={"objective": "bytes"})
    assert resolve_fleet(stated, tmp_path, read_one).objective == "bytes"


def test_a_topology_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"topology\.yaml"):
        resolve_fleet(read(tmp_path, GOOD), tmp_path)


def test_profiles_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    text = GOOD.replace("    edges: [depot]", "    edges: [depot]\n    device: {profile: profiles/own.json}")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/topology.yaml").write_text(
        "tiers: {device: {profile: device.json}, edge: {profile: ../edge.json}}\n"
        "links: {device_edge: {up_mbps: 1, down_mbps: 1}, edge_cloud: {up_mbps: 1, down_mbps: 1}}\n",
        encoding="utf-8",
    )
    fleet = read(tmp_path, text.replace("topology.yaml", "sites/topology.yaml"))
    cohort = resolve_fleet(fleet, tmp_path).cohorts[0]
    assert cohort.device.profile == tmp_path / "profiles/own.json"
    assert cohort.on_edge(fleet.edges[0]).tiers.edge.profile == tmp_path / "edge.json"


def test_the_example_in_the_docs_can_be_planned() -> None:
    """Its own topology, over a made-up network."""
    setting = resolve_fleet(read_fleet(EXAMPLE), EXAMPLE.parent)
    measurements = random_measurements(np.random.default_rng(5), chain_graph(6))
    accuracy = SyntheticAccuracy(CostModel(measurements, topology()), seed=1)
    plan = plan_cohorts(
        setting, [measurements] * len(setting.cohorts), dict.fromkeys(setting.fleet.models, accuracy)
    )
    assert sum(part.devices for part in plan.parts) == setting.fleet.devices
