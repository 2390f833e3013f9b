"""Photos and streams over a real broker, with the real ModelHost behind gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from support.brokers import fresh_embedded
from support.fleets import EdgeOptions, running_device, running_edge
from support.image_model import INPUT, OUTPUT, normalised, put_image_model, random_pixels
from support.plain_cloud import plain_cloud
from tercet.codecs.codec import Array, Float32Array
from tercet.frame_record import VisitRecord
from tercet.inference.segment_chain import SegmentChain
from tercet.links.broker_url import BrokerUrl
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet.wire.messages import Answer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


def deploy(store: Store, *plans: Plan) -> Deployment:
    return Deployment(model=put_image_model(store).ref, plans=plans)


def reference(store: Store, deployment: Deployment, x: Float32Array) -> Array:
    """The scores, with nothing coded on the way."""
    return SegmentChain(store.manifest(deployment.model), store).run({INPUT: x}, 0, 2)[OUTPUT]


def tiers_of(answer: Answer) -> list[str]:
    records = [VisitRecord.from_wire(visit) for visit in answer.header.route.visits]
    return [f"{record.tier} {record.from_boundary}→{record.to_boundary}" for record in records if record]


@pytest.mark.parametrize(("codec", "tolerance"), [("png", 1e-5), ("jpeg:90", 0.1), ("webp:90", 0.1)])
@pytest.mark.parametrize(
    ("edge_until", "route"),
    [
        (0, ["device 0→0", "edge 0→0", "cloud 0→2"]),
        (1, ["device 0→0", "edge 0→1", "cloud 1→2"]),
        (2, ["device 0→0", "edge 0→2"]),
    ],
)
async def test_a_photo_is_sent_as_a_picture_and_computed_where_the_plan_says(
    broker: BrokerUrl, store: Store, codec: str, tolerance: float, edge_until: int, route: list[str]
) -> None:
    plan = Plan(id="photo", device_until=0, edge_until=edge_until, codecs=LinkCodecs(device_edge=codec))
    deployment = deploy(store, plan)
    x = normalised(random_pixels(7))
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: x}, plan)
    np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=tolerance)
    assert tiers_of(answer) == route
    assert answer.header.route.visits[1].received_bytes < x.nbytes / 3


async def test_without_a_cloud_the_edge_decodes_the_photo_itself(broker: BrokerUrl, store: Store) -> None:
    plan = Plan(id="photo", device_until=0, edge_until=0, codecs=LinkCodecs(device_edge="png"))
    deployment = deploy(store, plan)
    x = normalised(random_pixels(9))
    async with (
        running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: x}, plan)
    np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=1e-5)
    assert answer.header.route.degraded
