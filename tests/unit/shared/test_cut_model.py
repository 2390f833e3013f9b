"""Where a frame may reach a tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tiny_model import tiny_deployment
from tercet.cut_model import CutModel
from tercet.errors import ContractError, NotFoundError
from tercet.models.store import Store
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
