"""Plans that cannot be run are refused when they are read, not when a frame arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.affine_chain import affine_manifest
from tercet.errors import NotFoundError, SpecError
from tercet.plans import Deployment, Plan, read_deployment
from tercet.tiers import Tier

GOOD = """
model: affine@012345678901
plans:
  - {id: split, device_until: 1, edge_until: 2, codecs: {device_edge: int8}}
  - {id: all-cloud, device_until: 0, edge_until: 0}
"""


def read(tmp_path: Path, text: str) -> Deployment:
    path = tmp_path / "deployment.yaml"
    path.write_text(text)
    return read_deployment(path)


def test_a_deployment_says_who_runs_what(tmp_path: Path) -> None:
    deployment = read(tmp_path, GOOD)
    manifest = affine_manifest()
    deployment.check_against(manifest)
    split, cloud = (deployment.plan(name) for name in ("split", "all-cloud"))
    assert [list(split.segments(tier, manifest)) for tier in Tier] == [[0], [1], []]
    assert [list(cloud.segments(tier, manifest)) for tier in Tier] == [[], [], [0, 1]]
    assert (split.codecs.device_edge, split.codecs.edge_cloud) == ("int8", "raw")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("int8", "int9", r"plans\.0\.codecs\.device_edge: .*'int9' is unknown here; known are raw"),
        ("device_until: 1", "device_until: 3", r"plans\.0: .*device_until must not exceed edge_until"),
        ("device_until: 1", "device_until: -1", r"plans\.0\.device_until: "),
        ("device_until: 1", "device_until: one", r"plans\.0\.device_until: "),
        ("device_until: 1, ", "", r"plans\.0\.device_until: Field required"),
        ("id: split", "id: Split!", r"plans\.0\.id: "),
        ("id: split", "id: all-cloud", "two plans have the same id"),
        ("codecs:", "codec:", r"plans\.0\.codec: unknown key"),
        ("device_edge", "edge_device", r"plans\.0\.codecs\.edge_device: unknown key"),
        ("model: affine@012345678901", "", "model: Field required"),
        ("model:", "format: 2\nmodel:", "format: "),
    ],
)
def test_a_bad_deployment_is_refused_with_the_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        read(tmp_path, GOOD.replace(old, new))
    assert "deployment.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_deployment_without_plans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="plans: "):
        read(tmp_path, "model: m@0\nplans: []")


def test_a_cut_that_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    deployment = read(tmp_path, GOOD.replace("edge_until: 2", "edge_until: 3"))
    with pytest.raises(SpecError, match=r"plan split cuts at boundary 3, but .* has boundaries 0 to 2"):
        deployment.check_against(affine_manifest())


def test_an_unknown_plan_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"'fast' is not one of .*known: split, all-cloud"):
        read(tmp_path, GOOD).plan("fast")


def test_every_segment_runs_on_exactly_one_tier_under_every_plan() -> None:
    manifest = affine_manifest()
    for edge_until in range(3):
        for device_until in range(edge_until + 1):
            plan = Plan(id="p", device_until=device_until, edge_until=edge_until)
            assert [index for tier in Tier for index in plan.segments(tier, manifest)] == [0, 1]


def test_tiers_cross_the_wire_and_those_of_newer_peers_are_none() -> None:
    assert [Tier.from_wire(tier.wire) for tier in Tier] == list(Tier)
    assert Tier.from_wire(0) is None
    assert Tier.from_wire(17) is None
