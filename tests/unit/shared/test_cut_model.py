"""Where a frame may reach a tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tiny_model import tiny_deployment
from tercet.cut_model import CutModel
from tercet.errors import ContractError, NotFoundError
from tercet.models.store import Store
from tercet.plans import Plan
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb

LAST = 3


@pytest.fixture
def model(tmp_path: Path) -> CutModel:
    store = Store(tmp_path)
    return CutModel.open(tiny_deployment(store), store, threads=1, providers=("CPUExecutionProvider",))


def frame(boundary: int, *, plan: str = "raw", durable: bool = True) -> pb.FrameHeader:
    delivery = pb.DELIVERY_CLASS_DURABLE if durable else pb.DELIVERY_CLASS_REALTIME
    return pb.FrameHeader(plan=plan, boundary=boundary, delivery=delivery)


@pytest.mark.parametrize(("tier", "boundary"), [(Tier.EDGE, 1), (Tier.CLOUD, 2)])
def test_a_durable_frame_comes_where_its_plan_says_or_with_its_outputs(
    model: CutModel, tier: Tier, boundary: int
) -> None:
    assert model.plan_for(frame(boundary), tier).id == "raw"
    assert model.plan_for(frame(LAST), tier).id == "raw"
    for elsewhere in {0, 1, 2, LAST + 1} - {boundary}:
        with pytest.raises(ContractError, match=f"at boundary {boundary}"):
            model.plan_for(frame(elsewhere), tier)


@pytest.mark.parametrize("tier", [Tier.EDGE, Tier.CLOUD])
def test_a_realtime_frame_does_not_come_with_its_outputs(model: CutModel, tier: Tier) -> None:
    with pytest.raises(ContractError, match="this frame is at 3"):
        model.plan_for(frame(LAST, durable=False), tier)


def test_outputs_of_a_plan_that_is_not_here_are_refused(model: CutModel) -> None:
    with pytest.raises(NotFoundError, match="'best'"):
        model.plan_for(frame(LAST, plan="best"), Tier.CLOUD)


def test_frames_by_plans_of_an_earlier_deployment_are_taken_where_the_tier_can_do_its_part(model: CutModel) -> None:
    """Of a name that means another cut now, the one is taken that reaches the tier where the frame is."""
    former = [
        Plan(id="gone", device_until=2, edge_until=3),
        Plan(id="raw", device_until=2, edge_until=3),
        Plan(id="impossible", device_until=1, edge_until=9),
    ]
    model.serve_also(former, Tier.EDGE)
    assert model.plan_for(frame(2, plan="gone", durable=False), Tier.EDGE) is former[0]
    assert model.plan_for(frame(2, durable=False), Tier.EDGE) is former[1]
    assert model.plan_for(frame(1, durable=False), Tier.EDGE) is model.deployment.plan("raw")
    with pytest.raises(ContractError, match="at boundary 1"):
        model.plan_for(frame(0, durable=False), Tier.EDGE)
    for unknown in ("impossible", "never"):
        with pytest.raises(NotFoundError):
            model.plan_for(frame(1, plan=unknown, durable=False), Tier.EDGE)


def test_the_newest_of_earlier_deployments_goes_first(model: CutModel) -> None:
    newer, older = Plan(id="gone", device_until=1, edge_until=3), Plan(id="gone", device_until=1, edge_until=2)
    model.serve_also([newer], Tier.EDGE)
    model.serve_also([older], Tier.EDGE)
    assert model.plan_for(frame(1, plan="gone", durable=False), Tier.EDGE) is newer
