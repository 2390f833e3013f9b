"""`tercet plan --fleet` from a fleet file to deployments that run, on a small network measured for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tiny_classifier import tiny_classifier
from tercet.cut_model import CutModel
from tercet.errors import InfeasibleError, NotFoundError, SpecError
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.models.store import Store
from tercet.plans import read_deployment
from tercet.tiers import Tier
from tercet_cloud.planner.commands import plan as plan_command

LINK = {"up_mbps": 2, "down_mbps": 20, "round_trip_ms": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """With the tiny classifier; measurements are kept in it from test to test."""
    store = Store(tmp_path_factory.mktemp("store"))
    tiny_classifier(store)
    return store


def write_fleet(folder: Path, **changes: object) -> Path:
    """Devices 3,000 times slower than this machine, edges 300 times: cutting this network pays."""
    topology = {
        "tiers": {"device": {"slowdown": 3000}, "edge": {"slowdown": 300}, "cloud": {"slowdown": 10}},
        "links": {"device_edge": LINK, "edge_cloud": LINK},
        "constraints": {"max_accuracy_drop": 0.2},
    }
    fleet = {
        "models": {"tiny-classifier": {"topology": "topology.yaml"}},
        "cloud": {"cores": 2},
        "edges": [
            {"name": "north", "cores": 2, "uplink": {**LINK, "up_mbps": 20}},
            {"name": "south", "cores": 1, "slowdown": 600, "uplink": {**LINK, "round_trip_ms": 30}},
        ],
        "cohorts": [
            {"name": "gates", "devices": 12, "frames_per_second": 0.5, "edges": ["north", "south"]},
            {
                "name": "poles",
                "devices": 30,
                "frames_per_second": 1,
                "edges": ["south"],
                "link": {**LINK, "up_mbps": 1},
            },
        ],
        **changes,
    }
    (folder / "topology.yaml").write_text(yaml.safe_dump(topology), encoding="utf-8")
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet), encoding="utf-8")
    return path


def tercet_plan(fleet: Path, store: Store, *more: str) -> Path:
    """As the console script runs it; the folder that it wrote to."""
    out = fleet.parent / "out"
    given = ["--fleet", str(fleet), "--store", str(store.root), "--out", str(out), "--frames", "40", *more]
    plan_command.main(args=given, standalone_mode=False)
    return out


def test_the_deployments_that_are_written_are_those_of_the_plan_and_open_on_their_tiers(
    tmp_path: Path, store: Store
) -> None:
    out = tercet_plan(write_fleet(tmp_path), store)
    report: dict[str, Any] = json.loads((out / "fleet-plan.json").read_text())
    for cohort in report["cohorts"]:
        deployment = read_deployment(out / "cohorts" / f"{cohort['name']}.yaml")
        assert [plan.id for plan in deployment.plans] == [part["plan"] for part in cohort["parts"]]
        assert sum(part["devices"] for part in cohort["parts"]) == cohort["devices"]
        CutModel.open(deployment, store, threads=1, providers=DEFAULT_PROVIDERS).load_for(Tier.DEVICE)
        for plan, part in zip(deployment.plans, cohort["parts"], strict=True):
            assert plan.predicted is not None
            assert plan.predicted.device_ms == part["prediction"]["device_ms"]
            if part["prediction"]["device_edge_bytes"]:
                edge = read_deployment(out / "edges" / part["edge"] / "tiny-classifier.yaml")
                assert edge.plan(plan.id) == plan
                assert edge.model == deployment.model
                CutModel.open(edge, store, threads=1, providers=DEFAULT_PROVIDERS).load_for(Tier.EDGE)
            if part["prediction"]["edge_cloud_bytes"]:
                cloud = read_deployment(out / "cloud" / "tiny-classifier.yaml")
                CutModel.open(cloud, store, threads=1, providers=DEFAULT_PROVIDERS).load_for(Tier.CLOUD)


def test_json_on_standard_output_is_the_file_and_nothing_else(
    tmp_path: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tercet_plan(write_fleet(tmp_path), store, "--json")
    printed = capfd.readouterr().out
    assert printed == (out / "fleet-plan.json").read_text()
    assert json.loads(printed)["devices"] == 42


def test_the_tables_show_cohorts_loads_and_what_to_buy(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [{"name": "poles", "devices": 4000, "frames_per_second": 2, "edges": ["north"]}]
    note = "Everything here is made up."
    tercet_plan(write_fleet(tmp_path, cohorts=many, note=note), store)
    text = capsys.readouterr().out
    assert "4,000 devices in 1 cohort on 2 edges" in text
    for words in ("north", "of 1.4 cores", "What to buy next", note, "devices × 3000", "70%"):
        assert words in text


def test_a_fleet_file_goes_without_model_and_topology(tmp_path: Path, store: Store) -> None:
    with pytest.raises(SpecError, match="leave out MODEL"):
        tercet_plan(write_fleet(tmp_path), store, "tiny-classifier")


def test_what_cannot_be_is_said_in_a_line(tmp_path: Path, store: Store) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        tercet_plan(write_fleet(tmp_path, models={"nowhere": {"topology": "topology.yaml"}}), store)
    strict = {"deadline_ms": 0.001}
    cohorts = [{"name": "g", "devices": 1, "frames_per_second": 1, "edges": ["north"], "constraints": strict}]
    with pytest.raises(InfeasibleError, match=r"cohort g: no plan keeps its constraints: deadline is 0\.001 ms"):
        tercet_plan(write_fleet(tmp_path, cohorts=cohorts), store)
