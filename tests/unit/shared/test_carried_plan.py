"""Plans that travel with their frames: opened as they were sent, and refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.affine_chain import affine_manifest
from support.tiny_model import tiny_deployment
from tercet.carried_plan import open_carried_plan, spec_of
from tercet.cut_model import CutModel
from tercet.errors import ContractError, NotFoundError, SpecError
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.models.store import Store
from tercet.plans import LinkCodecs, Plan, canonical_plan_id
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb

MANIFEST = affine_manifest()


def named(device_until: int, edge_until: int, device_edge: str = "int8", edge_cloud: str = "raw") -> Plan:
    codecs = LinkCodecs(device_edge=device_edge, edge_cloud=edge_cloud)
    name = canonical_plan_id(device_until, edge_until, codecs)
    return Plan(id=name, device_until=device_until, edge_until=edge_until, codecs=codecs)


def test_a_carried_plan_arrives_as_it_was_sent() -> None:
    plan = named(1, 2, "top10%+int8+zstd:3")
    assert open_carried_plan(plan.id, spec_of(plan), MANIFEST) == plan


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"edge_until": 9}, "whose name is r-1-9"),
        ({"device_until": 2, "edge_until": 1}, "whose name is"),
        ({"device_edge": "int9"}, "unknown"),
        ({"device_edge": "fp16"}, "whose name is"),
        ({"device_edge": ""}, "is not a stage"),
        ({"edge_cloud": "raw+" * 100}, "more than 256"),
        ({"device_edge": "int8+zstd"}, "whose name is|not spelt"),
        ({"device_edge": "int8:static@../../etc"}, "is not a stage"),
    ],
)
def test_a_carried_plan_that_is_not_what_its_name_says_is_refused(change: dict[str, object], expected: str) -> None:
    plan = named(1, 2)
    spec = spec_of(plan)
    spec.MergeFrom(pb.PlanSpec(**change))  # type: ignore[arg-type]
    if "device_edge" in change and not change["device_edge"]:
        spec.ClearField("device_edge")
    with pytest.raises(SpecError, match=expected):
        open_carried_plan(plan.id, spec, MANIFEST)


def test_cuts_that_the_model_does_not_have_are_refused_though_the_name_fits() -> None:
    plan = named(1, 9)
    with pytest.raises(SpecError, match="has boundaries 0 to 2"):
        open_carried_plan(plan.id, spec_of(plan), MANIFEST)
    codecs = LinkCodecs(device_edge="raw", edge_cloud="raw")
    backwards = pb.PlanSpec(device_until=2, edge_until=1, device_edge="raw", edge_cloud="raw")
    with pytest.raises(SpecError, match="data flows"):
        open_carried_plan(canonical_plan_id(2, 1, codecs), backwards, MANIFEST)


def test_a_photo_codec_is_refused_where_no_photo_crosses() -> None:
    plan = named(1, 2, "jpeg:90")
    with pytest.raises(SpecError, match="only boundary 0"):
        open_carried_plan(plan.id, spec_of(plan), MANIFEST)


@given(
    name=st.text(max_size=30),
    first=st.integers(0, 2**32 - 1),
    second=st.integers(0, 2**32 - 1),
    codecs=st.tuples(st.text(max_size=20), st.text(max_size=20)),
)
def test_whatever_a_peer_sends_is_refused_in_one_line(
    name: str, first: int, second: int, codecs: tuple[str, str]
) -> None:
    spec = pb.PlanSpec(device_until=first, edge_until=second)
    try:
        spec.device_edge, spec.edge_cloud = codecs
    except UnicodeEncodeError:
        return
    with pytest.raises(SpecError) as refusal:
        open_carried_plan(name, spec, MANIFEST)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 1000


@pytest.fixture
def model(tmp_path: Path) -> CutModel:
    store = Store(tmp_path)
    return CutModel.open(tiny_deployment(store), store, threads=1, providers=DEFAULT_PROVIDERS)


def header(plan: Plan, boundary: int) -> pb.FrameHeader:
    return pb.FrameHeader(plan=plan.id, plan_spec=spec_of(plan), boundary=boundary)


def test_a_tier_takes_a_carried_plan_only_at_the_boundary_where_it_takes_over(model: CutModel) -> None:
    plan = named(2, 3)
    assert model.plan_for(header(plan, 2), Tier.EDGE) == plan
    with pytest.raises(ContractError, match="reaches the edge at boundary 2"):
        model.plan_for(header(plan, 1), Tier.EDGE)


def test_what_a_deployment_calls_so_is_not_changed_by_what_a_frame_carries(model: CutModel) -> None:
    frame = pb.FrameHeader(plan="raw", plan_spec=spec_of(named(2, 3)), boundary=1)
    assert model.plan_for(frame, Tier.EDGE).edge_until == 2


def test_a_plan_that_no_deployment_has_and_that_is_not_carried_is_unknown(model: CutModel) -> None:
    with pytest.raises(NotFoundError, match="is not one of model"):
        model.plan_for(pb.FrameHeader(plan=named(2, 3).id, boundary=2), Tier.EDGE)


def test_a_tier_without_the_segments_or_calibrations_of_a_carried_plan_says_so(
    model: CutModel, tmp_path: Path
) -> None:
    calibrated = named(1, 3, "int8:static@0123456789ab")
    with pytest.raises(NotFoundError, match="0123456789ab"):
        model.plan_for(header(calibrated, 1), Tier.EDGE)
    Store(tmp_path).segment_path(model.manifest.segments[2].sha256).unlink()
    plan = named(1, 3)
    with pytest.raises(NotFoundError, match="copy them there"):
        model.plan_for(header(plan, 1), Tier.EDGE)
