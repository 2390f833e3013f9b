"""Photos and streams over a real broker, with the real ModelHost behind gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from support.brokers import fresh_embedded
from support.fleets import EdgeOptions, running_device, running_edge
from support.image_model import FEATURES, INPUT, OUTPUT, normalised, put_image_model, random_pixels
from support.plain_cloud import plain_cloud
from support.processes import free_port
from tercet.codecs import calibrate
from tercet.codecs.codec import Array, Float32Array
from tercet.codecs.transform_fit import fit_transform
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
    codecs = LinkCodecs(device_edge=codec, edge_cloud=codec if edge_until == 0 else "raw")
    plan = Plan(id="photo", device_until=0, edge_until=edge_until, codecs=codecs)
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
    both = LinkCodecs(device_edge="png", edge_cloud="png")
    plan = Plan(id="photo", device_until=0, edge_until=0, codecs=both)
    deployment = deploy(store, plan)
    x = normalised(random_pixels(9))
    async with (
        running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)),
        running_device(broker, deployment, store) as agent,
    ):
        answer = await agent.infer({INPUT: x}, plan)
    np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=1e-5)
    assert answer.header.route.degraded


# --- an edge with nothing to compute


def transcoding_specs(store: Store) -> dict[str, str]:
    """What the edge may make of a photo for the second link; a transform is calibrated here."""
    put_image_model(store)
    transform = fit_transform([normalised(random_pixels(seed)) for seed in range(20, 28)], tensor=INPUT)
    digest = store.add_calibration(transform)
    return {"raw": "raw", "fp16": "fp16", "png": "png", "webp": "webp:90", "klt": f"klt:8:static@{digest}"}


@pytest.mark.parametrize(
    ("first", "second"),
    [("jpeg:90", "raw"), ("jpeg:90", "klt"), ("jpeg:90", "png"), ("raw", "webp"), ("png", "fp16")],
)
async def test_an_edge_between_two_codecs_codes_anew(
    broker: BrokerUrl, store: Store, first: str, second: str
) -> None:
    specs = transcoding_specs(store)
    codecs = LinkCodecs(device_edge=specs.get(first, first), edge_cloud=specs[second])
    same = LinkCodecs(device_edge=codecs.edge_cloud, edge_cloud=codecs.edge_cloud)
    deployment = deploy(
        store,
        Plan(id="anew", device_until=0, edge_until=0, codecs=codecs),
        Plan(id="passed", device_until=0, edge_until=0, codecs=same),
    )
    x = normalised(random_pixels(11))
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        anew = await agent.infer({INPUT: x}, deployment.plan("anew"))
        passed = await agent.infer({INPUT: x}, deployment.plan("passed"))
    assert tiers_of(anew) == tiers_of(passed) == ["device 0→0", "edge 0→0", "cloud 0→2"]
    assert not anew.header.route.degraded
    np.testing.assert_allclose(anew.outputs()[OUTPUT], reference(store, deployment, x), atol=0.2)
    # The edge decoded and coded: what it sent on is of the second codec's size, not of the first's.
    _, edge, cloud_visit = anew.header.route.visits
    assert edge.decode_us > 0
    assert passed.header.route.visits[1].decode_us == 0
    assert cloud_visit.received_bytes != edge.received_bytes
    assert abs(cloud_visit.received_bytes - received_bytes(passed, 2)) < 0.2 * received_bytes(passed, 2)


async def test_an_edge_that_codes_anew_opens_the_streams_that_end_with_it(broker: BrokerUrl, store: Store) -> None:
    codecs = LinkCodecs(device_edge="delta:30+int8+zstd", edge_cloud="raw")
    deployment = deploy(store, Plan(id="anew", device_until=1, edge_until=1, codecs=codecs))
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        for x in footage(4):
            answer = await agent.infer({INPUT: x}, deployment.plan("anew"))
            np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=0.05)
            assert tiers_of(answer) == ["device 0→1", "edge 1→1", "cloud 1→2"]
    assert (agent.links[0].streams.key_frames, agent.links[0].streams.delta_frames) == (1, 3)


# --- emulated slow tiers


async def test_slowed_tiers_answer_the_same_and_every_visit_names_the_emulation(
    broker: BrokerUrl, store: Store
) -> None:
    plan = Plan(id="three", device_until=1, edge_until=1, codecs=LinkCodecs(device_edge="int8", edge_cloud="fp16"))
    deployment = deploy(store, plan)
    x = normalised(random_pixels(12))
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address, EdgeOptions(slowdown=3)),
        running_device(broker, deployment, store, slowdown=6) as agent,
    ):
        answer = await agent.infer({INPUT: x}, plan)
    np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=0.05)
    records = [VisitRecord.from_wire(visit) for visit in answer.header.route.visits]
    assert [record.emulated_slowdown for record in records if record] == [6, 3, 1]


# --- streams


def footage(frames: int, seed: int = 3) -> list[Float32Array]:
    """A camera that stands still, with noise of one level."""
    generator = np.random.default_rng(seed)
    still = random_pixels(seed).astype(np.float32)
    noisy = (still + generator.normal(0, 1, still.shape) for _ in range(frames))
    return [normalised(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)) for pixels in noisy]


def add_calibration(store: Store) -> str:
    """Of the features, into the store; its digest."""
    chain = SegmentChain(put_image_model(store), store)
    samples = [chain.run({INPUT: x}, 0, 1)[FEATURES].view(np.float32) for x in footage(8, seed=4)]
    return store.add_calibration(calibrate(samples, tensor=FEATURES))


def stream_plans(codec: str) -> tuple[Plan, ...]:
    """The stream on either link, passed on by the edge, and without delta."""
    both = LinkCodecs(device_edge=f"delta:30+{codec}", edge_cloud=f"delta:30+{codec}")
    return (
        Plan(id="to-edge", device_until=1, edge_until=2, codecs=both),
        Plan(id="past-edge", device_until=1, edge_until=1, codecs=both),
        Plan(id="to-cloud", device_until=0, edge_until=1, codecs=both.model_copy(update={"device_edge": "raw"})),
        Plan(id="plain-cloud", device_until=0, edge_until=0),
        Plan(id="plain", device_until=1, edge_until=2, codecs=LinkCodecs(device_edge=codec, edge_cloud=codec)),
    )


def received_bytes(answer: Answer, tier: int) -> int:
    return answer.header.route.visits[tier].received_bytes


@pytest.mark.parametrize(("plan_id", "receiver"), [("to-edge", 1), ("past-edge", 2), ("to-cloud", 2)])
async def test_a_stream_gives_the_very_answers_of_its_codec_without_delta_in_fewer_bytes(
    broker: BrokerUrl, store: Store, plan_id: str, receiver: int
) -> None:
    deployment = deploy(store, *stream_plans(f"int8:static@{add_calibration(store)}+zstd"))
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_device(broker, deployment, store) as agent,
    ):
        streamed, plain = [], []
        for x in footage(6):
            streamed.append(await agent.infer({INPUT: x}, deployment.plan(plan_id)))
            plain.append(await agent.infer({INPUT: x}, deployment.plan("plain")))
    for one, other in zip(streamed, plain, strict=True):
        assert one.outputs()[OUTPUT].tobytes() == other.outputs()[OUTPUT].tobytes()
        assert not one.header.route.degraded
    key, *deltas = [received_bytes(answer, receiver) for answer in streamed]
    assert max(deltas) < 0.8 * key


async def test_many_frames_of_a_stream_under_way_at_once_are_each_answered_rightly(
    broker: BrokerUrl, store: Store
) -> None:
    deployment = deploy(store, *stream_plans(f"int8:static@{add_calibration(store)}+zstd"))
    frames = footage(40)
    async with (
        plain_cloud(store, deployment) as cloud,
        running_edge(broker, deployment, store, cloud.address),
        running_edge(broker, deployment, store, cloud.address, name="edge-2"),
        running_device(broker, deployment, store) as agent,
    ):
        found = []
        for plan_id in ("to-edge", "plain"):
            answers = []
            for start in range(0, len(frames), 5):
                wave = frames[start : start + 5]
                answers += await asyncio.gather(*(agent.infer({INPUT: x}, deployment.plan(plan_id)) for x in wave))
            found.append([answer.outputs()[OUTPUT].tobytes() for answer in answers])
    assert found[0] == found[1]
    assert agent.links[0].streams.delta_frames > 0


async def test_an_edge_that_starts_again_asks_for_a_key_frame_and_the_answer_is_the_planned_one(
    broker: BrokerUrl, store: Store
) -> None:
    deployment = deploy(store, *stream_plans("int8+zstd"))
    plan = deployment.plan("to-edge")
    frames = footage(6)
    async with running_device(broker, deployment, store, fallback=True) as agent:
        for part in (frames[:3], frames[3:]):
            async with running_edge(broker, deployment, store, None):
                for x in part:
                    answer = await agent.infer({INPUT: x}, plan)
                    assert tiers_of(answer) == ["device 0→1", "edge 1→2"]
                    np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=0.05)
    assert agent.links[0].streams.stale == 1
    assert (agent.links[0].streams.key_frames, agent.links[0].streams.delta_frames) == (2, 5)


async def test_a_cloud_that_starts_again_costs_the_edge_or_the_device_one_key_frame(
    broker: BrokerUrl, store: Store
) -> None:
    deployment = deploy(store, *stream_plans("int8+zstd"))
    port = free_port()
    async with (
        running_edge(broker, deployment, store, f"127.0.0.1:{port}", EdgeOptions(fallback=True)),
        running_device(broker, deployment, store) as agent,
    ):
        for part in (footage(6)[:3], footage(6)[3:]):
            async with plain_cloud(store, deployment, port=port):
                # The first call finds the new cloud; until then the edge answers itself.
                for _ in range(200):
                    answer = await agent.infer({INPUT: part[0]}, deployment.plan("plain-cloud"))
                    if not answer.header.route.degraded:
                        break
                for plan_id in ("past-edge", "to-cloud"):
                    for x in part:
                        answer = await agent.infer({INPUT: x}, deployment.plan(plan_id))
                        assert not answer.header.route.degraded
                        np.testing.assert_allclose(
                            answer.outputs()[OUTPUT], reference(store, deployment, x), atol=0.05
                        )
    assert agent.links[0].streams.stale == 1


async def test_without_a_cloud_the_edge_asks_for_a_key_frame_and_answers_itself(
    broker: BrokerUrl, store: Store
) -> None:
    deployment = deploy(store, *stream_plans("int8+zstd"))
    async with running_device(broker, deployment, store) as agent:
        async with (
            plain_cloud(store, deployment) as cloud,
            running_edge(broker, deployment, store, cloud.address, EdgeOptions(fallback=True)),
        ):
            frames = footage(5)
            for x in frames[:2]:
                await agent.infer({INPUT: x}, deployment.plan("past-edge"))
        async with running_edge(broker, deployment, store, None, EdgeOptions(fallback=True)):
            for x in frames[2:]:
                answer = await agent.infer({INPUT: x}, deployment.plan("past-edge"))
                assert answer.header.route.degraded
                np.testing.assert_allclose(answer.outputs()[OUTPUT], reference(store, deployment, x), atol=0.05)
    assert agent.links[0].streams.stale == 1
