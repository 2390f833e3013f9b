"""Cascades over a real broker, with the real ModelHost behind gRPC: where frames exit, and what audits do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.brokers import fresh_embedded
from support.colours import put_colours
from support.dictated import (
    INPUT,
    NAMES,
    PLAN,
    SURE,
    UNSURE,
    Dictated,
    cut_large,
    dictated_cascade,
    dictated_input,
    whole_deployment,
)
from support.fleets import EdgeOptions, running_cascade_device, running_cascade_edge
from support.plain_cloud import plain_cloud
from support.processes import free_port
from tercet.cascade.document import AuditTerms, Cascade, CascadeStage
from tercet.cascade.exit_rule import ExitRule, scores_of
from tercet.errors import LinkDownError, NotFoundError
from tercet.links.broker_url import BrokerUrl
from tercet.models.card import ImageInput
from tercet.models.photos import preprocess
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet.wire.messages import Answer
from tercet_cloud.cascade.stage_runs import StageModel, StageRuns
from tercet_cloud.measurement.split_runner import SplitRunner


@pytest.fixture
async def broker() -> AsyncIterator[BrokerUrl]:
    async with fresh_embedded() as url:
        yield url


def answered_by(answer: Answer) -> str:
    return answer.header.model.partition("@")[0]


@pytest.mark.parametrize(
    ("scores", "stage", "tiers"),
    [((SURE, -SURE, -SURE), "small", 1), ((UNSURE, SURE, -SURE), "mid", 2), ((UNSURE, UNSURE, SURE), "large", 3)],
)
async def test_a_frame_exits_at_the_first_stage_that_is_sure(
    broker: BrokerUrl, tmp_path: Path, scores: tuple[float, float, float], stage: str, tiers: int
) -> None:
    cascade = dictated_cascade(tmp_path)
    async with (
        plain_cloud(cascade.store, cascade.deployments["large"]) as cloud,
        running_cascade_edge(broker, cascade, cloud.address),
        running_cascade_device(broker, cascade) as agent,
    ):
        answer = await agent.infer({INPUT: dictated_input(*scores)})
    place = NAMES.index(stage)
    assert answered_by(answer) == stage
    assert answer.outputs()["scores"].tolist() == dictated_input(*scores)[:, 2 * place : 2 * place + 2].tolist()
    assert not answer.header.route.degraded
    visits = answer.header.route.visits
    assert len(visits) == tiers
    assert [visit.verdict.exited for visit in visits if visit.HasField("verdict")] == [
        stage == NAMES[index] for index in range(min(tiers, 2))
    ]


async def test_an_audited_frame_is_answered_by_the_large_model_past_a_sure_mid_one(
    broker: BrokerUrl, tmp_path: Path
) -> None:
    cascade = dictated_cascade(tmp_path, audit=AuditTerms(share=1))
    async with (
        plain_cloud(cascade.store, cascade.deployments["large"]) as cloud,
        running_cascade_edge(broker, cascade, cloud.address) as (_, at_edge),
        running_cascade_device(broker, cascade) as agent,
    ):
        answer = await agent.infer({INPUT: dictated_input(SURE, SURE, -SURE)})
        device = agent.cascade.stages[0].exit
    assert answered_by(answer) == "large"
    verdict = answer.header.route.visits[0].verdict
    assert verdict.audited
    assert not verdict.exited
    assert device
    assert device.status()["window_wrong"] == device.status()["window_audited"] == 1
    # The edge's own exit saw nothing of a frame that checked another one.
    assert at_edge.stages[1].exit
    assert at_edge.stages[1].exit.judged == 0


async def test_drift_tightens_the_devices_exit_and_good_frames_relax_it(broker: BrokerUrl, tmp_path: Path) -> None:
    cascade = dictated_cascade(tmp_path, audit=AuditTerms(share=0.5))
    drifted, good = dictated_input(SURE, UNSURE, -SURE), dictated_input(SURE, UNSURE, SURE)
    async with (
        plain_cloud(cascade.store, cascade.deployments["large"]) as cloud,
        running_cascade_edge(broker, cascade, cloud.address),
        running_cascade_device(broker, cascade) as agent,
    ):
        exit_ = agent.cascade.stages[0].exit
        assert exit_
        for _ in range(100):
            await agent.infer({INPUT: drifted})
            if exit_.status()["tightened"]:
                break
        assert exit_.status()["threshold"] is None
        exited = exit_.exited
        # Closed: the large model is asked about every sure frame.
        for _ in range(120):
            answer = await agent.infer({INPUT: good})
            if exit_.status()["relaxed"]:
                break
            assert answered_by(answer) == "large"
        assert exit_.exited == exited
        assert exit_.status()["threshold"] == exit_.status()["certified_threshold"]


async def test_without_a_cloud_the_mid_model_answers_degraded_with_its_score(
    broker: BrokerUrl, tmp_path: Path
) -> None:
    cascade = dictated_cascade(tmp_path)
    nobody = f"127.0.0.1:{free_port()}"
    async with (
        running_cascade_edge(broker, cascade, nobody, EdgeOptions(fallback=True)) as (_, at_edge),
        running_cascade_device(broker, cascade) as agent,
    ):
        answer = await agent.infer({INPUT: dictated_input(UNSURE, UNSURE, SURE)})
    assert answered_by(answer) == "mid"
    assert answer.header.route.degraded
    assert "LinkDownError" in answer.header.route.reason
    assert "score 0.55 of 0.9" in answer.header.route.reason
    device, edge = answer.header.route.visits
    assert edge.verdict.exited
    assert not device.verdict.exited
    # Nobody said whether the stages were right.
    for stage in (agent.cascade.stages[0], at_edge.stages[1]):
        assert stage.exit
        assert stage.exit.unanswered == 1


async def test_without_an_edge_the_small_model_answers_degraded(broker: BrokerUrl, tmp_path: Path) -> None:
    cascade = dictated_cascade(tmp_path)
    async with running_cascade_device(broker, cascade, deadline_s=0.3) as agent:
        sure = await agent.infer({INPUT: dictated_input(SURE, UNSURE, UNSURE)})
        unsure = await agent.infer({INPUT: dictated_input(UNSURE, SURE, SURE)})
    assert not sure.header.route.degraded
    assert answered_by(unsure) == "small"
    assert unsure.header.route.degraded
    assert "did not answer within" in unsure.header.route.reason


async def test_an_audit_that_nobody_answers_is_an_ordinary_exit(broker: BrokerUrl, tmp_path: Path) -> None:
    cascade = dictated_cascade(tmp_path, audit=AuditTerms(share=1))
    async with running_cascade_device(broker, cascade, deadline_s=0.3) as agent:
        answer = await agent.infer({INPUT: dictated_input(SURE, UNSURE, UNSURE)})
    assert answered_by(answer) == "small"
    assert not answer.header.route.degraded
    assert answer.header.route.visits[0].verdict.exited


async def test_of_a_closed_exit_an_answer_that_nobody_checked_is_degraded(
    broker: BrokerUrl, tmp_path: Path
) -> None:
    cascade = dictated_cascade(tmp_path, audit=AuditTerms(share=1))
    async with running_cascade_device(broker, cascade, deadline_s=0.3) as agent:
        exit_ = agent.cascade.stages[0].exit
        assert exit_
        for _ in range(20):
            exit_.learn(exit_.judge({"scores": np.array([[-SURE, SURE]])}), label=0)
        assert exit_.status()["threshold"] is None
        answer = await agent.infer({INPUT: dictated_input(SURE, UNSURE, UNSURE)})
    assert answered_by(answer) == "small"
    assert answer.header.route.degraded


async def test_without_fallback_the_refusal_says_why(broker: BrokerUrl, tmp_path: Path) -> None:
    cascade = dictated_cascade(tmp_path)
    async with (
        running_cascade_edge(broker, cascade, None),
        running_cascade_device(broker, cascade, fallback=False) as agent,
    ):
        answer = await agent.infer({INPUT: dictated_input(UNSURE, UNSURE, SURE)})
    assert isinstance(answer.refusal, LinkDownError)


@pytest.mark.parametrize("tiers", [(Tier.DEVICE, Tier.EDGE), (Tier.DEVICE, Tier.CLOUD), (Tier.EDGE, Tier.CLOUD)])
async def test_two_stages_on_any_two_tiers_answer(
    broker: BrokerUrl, tmp_path: Path, tiers: tuple[Tier, Tier]
) -> None:
    cascade = dictated_cascade(tmp_path, names=("mid", "large"), tiers=tiers)
    async with (
        plain_cloud(cascade.store, cascade.deployments["large"]) as cloud,
        running_cascade_edge(broker, cascade, cloud.address),
        running_cascade_device(broker, cascade) as agent,
    ):
        sure = await agent.infer({INPUT: dictated_input(0, SURE, UNSURE)})
        unsure = await agent.infer({INPUT: dictated_input(0, UNSURE, SURE)})
    assert (answered_by(sure), answered_by(unsure)) == ("mid", "large")
    assert not unsure.header.route.degraded


async def test_an_edge_with_another_cascade_refuses_by_name(broker: BrokerUrl, tmp_path: Path) -> None:
    ours = dictated_cascade(tmp_path)
    theirs = Dictated(ours.store, ours.deployments, ours.cascade.model_copy(update={"escalate": "fp16"}))
    async with (
        running_cascade_edge(broker, theirs, None),
        running_cascade_device(broker, ours) as agent,
    ):
        answer = await agent.infer({INPUT: dictated_input(UNSURE, UNSURE, SURE)})
    with pytest.raises(NotFoundError, match=r"does not run cascade 'dictated@.*start it with the same"):
        answer.outputs()


async def test_frames_of_several_devices_share_a_run_of_the_edges_stage(broker: BrokerUrl, tmp_path: Path) -> None:
    cascade = dictated_cascade(tmp_path)
    inputs = [dictated_input(UNSURE, SURE if number % 2 else -SURE, UNSURE) for number in range(24)]
    async with (
        running_cascade_edge(broker, cascade, None, EdgeOptions(slowdown=100)),
        running_cascade_device(broker, cascade) as agent,
    ):
        answers = await asyncio.gather(*(agent.infer({INPUT: x}) for x in inputs))
    for x, answer in zip(inputs, answers, strict=True):
        assert answer.outputs()["scores"].tolist() == x[:, 2:4].tolist()
    assert max(answer.header.route.visits[1].batch_size for answer in answers) > 1


async def test_features_escalate_where_the_large_model_is_cut_between_edge_and_cloud(
    broker: BrokerUrl, tmp_path: Path
) -> None:
    cascade = cut_large(dictated_cascade(tmp_path))
    x = dictated_input(UNSURE, UNSURE, SURE)
    async with (
        plain_cloud(cascade.store, cascade.deployments["large"]) as cloud,
        running_cascade_edge(broker, cascade, cloud.address),
        running_cascade_device(broker, cascade) as agent,
    ):
        answer = await agent.infer({INPUT: x})
    assert answered_by(answer) == "large"
    assert answer.outputs()["scores"].tolist() == x[:, 4:].tolist()
    assert answer.header.route.visits[-1].from_boundary == 1


async def test_what_was_calibrated_is_what_is_served_sizes_and_codec_included(
    broker: BrokerUrl, tmp_path: Path
) -> None:
    """Scores, exits and answers of 24 photos, by the calibration's arithmetic and through the tiers."""
    store = Store(tmp_path)
    sizes = {"small": (16, 4.0), "mid": (24, 6.0), "large": (40, 8.0)}
    cards = {name: put_colours(store, name, size, contrast) for name, (size, contrast) in sizes.items()}
    stages = [
        StageModel(cards[name], tier, SplitRunner(store, cards[name], []))
        for name, tier in zip(NAMES, Tier, strict=True)
    ]
    runs = StageRuns(store, stages)
    picture = cards["large"].input
    assert isinstance(picture, ImageInput)
    photos = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 60 + 8 * seed, (50, 70, 3), np.uint8))
        for seed in range(24)
    ]
    frames = [{"x": preprocess(photo, picture)} for photo in photos]
    outputs = runs.outputs(frames, "webp:30")
    sure = [scores_of(scores, "max-softmax") for scores in outputs[:2]]
    thresholds = [float(np.quantile(sure[0], 0.6)), float(np.quantile(sure[1], 0.4))]
    cascade = Dictated(
        store,
        {
            name: whole_deployment(cards[name], store, tier, "webp:30")
            for name, tier in zip(NAMES, Tier, strict=True)
        },
        Cascade(
            name="colours",
            stages=tuple(
                CascadeStage(
                    tier=stage.tier,
                    model=stage.runner.manifest.ref,
                    plan=PLAN,
                    exit=ExitRule(threshold=threshold) if threshold is not None else None,
                )
                for stage, threshold in zip(stages, [*thresholds, None], strict=True)
            ),
            escalate="webp:30",
            audit=AuditTerms(share=0),
            uncertified=True,
        ),
    )
    async with (
        plain_cloud(store, cascade.deployments["large"]) as cloud,
        running_cascade_edge(broker, cascade, cloud.address),
        running_cascade_device(broker, cascade) as agent,
    ):
        answers = [await agent.infer(frame) for frame in frames]
    exits = []
    for index, answer in enumerate(answers):
        stage = next((k for k in (0, 1) if sure[k][index] >= thresholds[k]), 2)
        exits.append(stage)
        assert answered_by(answer) == NAMES[stage]
        np.testing.assert_allclose(answer.outputs()["scores"][0], outputs[stage][index], atol=1e-4)
        verdicts = [visit.verdict for visit in answer.header.route.visits if visit.HasField("verdict")]
        for k, verdict in enumerate(verdicts):
            assert verdict.score == pytest.approx(sure[k][index], abs=1e-5)
    assert set(exits) == {0, 1, 2}
