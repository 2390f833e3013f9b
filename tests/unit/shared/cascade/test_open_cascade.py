"""A cascade held against what is deployed on a tier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.dictated import PLAN, Dictated, dictated_cascade, put_model
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import open_deployments
from tercet.errors import ContractError, NotFoundError, SpecError
from tercet.models.store import sha256_of
from tercet.plans import Deployment, LinkCodecs
from tercet.tiers import Tier
from tercet.v1 import frame_pb2 as pb


@pytest.fixture
def made(tmp_path: Path) -> Dictated:
    return dictated_cascade(tmp_path)


def opened(made: Dictated, tier: Tier = Tier.EDGE, **replaced: Deployment) -> OpenCascade:
    models = open_deployments({**made.deployments, **replaced}.values(), made.store)
    return OpenCascade.open(made.cascade, made.store, models, tier, "edge-1")


def with_plan(deployment: Deployment, **changes: Any) -> Deployment:
    return deployment.model_copy(update={"plans": (deployment.plans[0].model_copy(update=changes),)})


def test_each_tier_judges_its_own_stage_only(made: Dictated) -> None:
    for tier, judged in ((Tier.DEVICE, [0]), (Tier.EDGE, [1]), (Tier.CLOUD, [])):
        assert [stage.index for stage in opened(made, tier).stages if stage.exit] == judged


def test_another_version_of_a_model_is_refused(made: Dictated) -> None:
    deployment = made.deployments["mid"]
    other = deployment.model_copy(update={"model": "mid@000000000000"})
    models = open_deployments([made.deployments["large"]], made.store)
    models[other.model] = next(iter(models.values()))
    with pytest.raises(SpecError, match=r"calibrated with mid@.*, but mid@000000000000 is deployed"):
        OpenCascade.open(made.cascade, made.store, models, Tier.EDGE, "edge-1")


def test_a_card_of_another_version_is_refused(made: Dictated) -> None:
    card = put_model(made.store, "mid")
    changed = made.store.model_bytes(card) + b""
    changed = changed.replace(b"scores", b"scorez")
    new = card.model_copy(
        update={"onnx": card.onnx.model_copy(update={"sha256": sha256_of(changed), "size_bytes": len(changed)})}
    )
    made.store.add_model(new, changed)
    with pytest.raises(SpecError, match=r"another version of mid .* calibrate the cascade again"):
        opened(made)


def test_a_model_that_is_not_deployed_is_named(made: Dictated) -> None:
    models = open_deployments([made.deployments["mid"]], made.store)
    with pytest.raises(SpecError, match=r"needs large@.* on this edge: name its deployment"):
        OpenCascade.open(made.cascade, made.store, models, Tier.EDGE, "edge-1")


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("mid", {"edge_until": 0}, "computed by its own tier"),
        ("large", {"edge_until": 1}, "computed by its own tier"),
        ("large", {"codecs": LinkCodecs(edge_cloud="int8")}, "code the input anew"),
    ],
)
def test_plans_that_do_something_else_are_refused(
    made: Dictated, name: str, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        opened(made, **{name: with_plan(made.deployments[name], **changes)})


def test_a_plan_that_is_not_there_is_named(made: Dictated) -> None:
    with pytest.raises(NotFoundError, match=f"plan '{PLAN}'"):
        opened(made, mid=with_plan(made.deployments["mid"], id="other"))


def test_a_codec_for_photos_does_not_go_with_tensors(made: Dictated) -> None:
    photos = Dictated(made.store, made.deployments, made.cascade.model_copy(update={"escalate": "webp:75"}))
    with pytest.raises(SpecError, match="does not go with the input of large"):
        opened(photos)


@pytest.mark.parametrize(
    "changes", [{"stage": 3}, {"stage": 2}, {"model": "mid@000000000000"}, {"plan": "other"}, {"boundary": 1}]
)
def test_a_frame_that_says_two_things_is_refused(made: Dictated, changes: dict[str, Any]) -> None:
    cascade = opened(made)
    fields: dict[str, Any] = {"model": made.deployments["mid"].model, "plan": PLAN, "stage": 1}
    assert cascade.stage_of(pb.FrameHeader(**fields)).index == 1
    with pytest.raises(ContractError):
        cascade.stage_of(pb.FrameHeader(**{**fields, **changes}))
