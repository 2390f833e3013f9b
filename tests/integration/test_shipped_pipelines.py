"""The shipped pipelines over three tiers: a real Ray, a real broker, devices and an edge that run steps.

What comes out equals a plain run, node by node in one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.fleets import FLEET
from support.plain_pipeline import PlainRuns
from support.recordings import beeps, sentence, wav
from support.shipped_pipelines import shipped_file, shipped_pipeline
from support.step_hosts import step_hosts
from support.written_pictures import written
from tercet.models.store import Store
from tercet.tiers import Tier
from tercet_cloud.dag.call import Means
from tercet_cloud.dag.events.bus import EventBus
from tercet_cloud.dag.events.rules import read_rules
from tercet_cloud.dag.events.runner import EventRunner, Reaction
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.session import PipelineSession, SessionOptions
from tercet_cloud.dag.spec import Pipeline

WAIT_S = 120.0


@pytest.fixture(scope="module")
def session(packaged_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineSession]:
    nodes = {"cam-1": Tier.DEVICE, "mic-1": Tier.DEVICE, "edge-1": Tier.EDGE}
    with step_hosts(packaged_store, nodes, ["tercet_cloud.pipelines.*"]) as broker:
        means = Means(packaged_store.root, broker=str(broker), fleet=FLEET)
        options = SessionOptions(workers=2, state=tmp_path_factory.mktemp("state"), means=means)
        with PipelineSession(options) as held:
            yield held


def run(session: PipelineSession, pipeline: Pipeline, inputs: dict[str, Any]) -> tuple[RunRecord, dict[str, Any]]:
    name = session.submit(pipeline, inputs)
    return session.wait(name, WAIT_S), session.outputs(name)


def states(record: RunRecord) -> dict[str, NodeState]:
    return {node.node: node.state for node in record.nodes}


def picture(words: list[str]) -> bytes:
    page = written((320, 40 + 50 * len(words)), [(word, 26, (20, 20 + 50 * row)) for row, word in enumerate(words)])
    file = BytesIO()
    Image.fromarray(page).save(file, "PNG")
    return file.getvalue()


def test_text_is_read_line_by_line(session: PipelineSession, packaged_store: Store) -> None:
    pipeline = shipped_pipeline("ocr", packaged_store)
    inputs = {"photo": picture(["Platform 9", "Track 3/4", "to Kings Cross"])}
    record, outputs = run(session, pipeline, inputs)
    assert record.state is RunState.DONE
    assert outputs["text"] == "Platform 9\nTrack 3/4\nto Kings Cross"
    assert outputs == PlainRuns(packaged_store).run(pipeline, inputs)[0]
    recognised = record.node("recognise")
    assert recognised is not None
    assert recognised.ended_items == 3
    places = {node.node: node.place for node in record.nodes}
    assert (places["look"], places["detect"], places["recognise"]) == ("device:cam-1", "edge", "cloud")


def test_an_empty_frame_ends_at_the_look(session: PipelineSession, packaged_store: Store) -> None:
    record, outputs = run(session, shipped_pipeline("ocr", packaged_store), {"photo": picture([])})
    assert record.state is RunState.DONE
    assert states(record).pop("look") is NodeState.DONE
    assert {state for name, state in states(record).items() if name != "look"} == {NodeState.SKIPPED}
    assert outputs == {"content": {"empty": True, "busy_cells": 0}}


def test_a_file_that_is_no_picture_fails_at_the_look_and_is_not_tried_again(
    session: PipelineSession, packaged_store: Store
) -> None:
    record, outputs = run(session, shipped_pipeline("ocr", packaged_store), {"photo": b"no picture"})
    look = record.node("look")
    assert look is not None
    assert (record.state, look.attempts) == (RunState.FAILED, 1)
    assert "are no picture" in look.reason
    assert outputs == {}


async def test_what_a_device_heard_runs_the_clouds_part_by_event(
    session: PipelineSession, packaged_store: Store
) -> None:
    gate, voices = shipped_pipeline("speech", packaged_store), shipped_pipeline("voices", packaged_store)
    rules = read_rules(shipped_file("speech-rules.yaml"))
    reactions: list[Reaction] = []
    bus = EventBus()
    runner = EventRunner(session, bus, rules, {shipped_file("voices.yaml"): voices}, reactions.append)
    recordings = {"mic-1": beeps(), "mic-2": sentence(["42", "917"], 0.6)}
    async with runner.running():
        for device, recording in recordings.items():
            _, outputs = await asyncio.to_thread(run, session, gate, {"sound": wav(recording)})
            assert bus.publish(f"{device}/speech", outputs["heard"])
        async with asyncio.timeout(WAIT_S):
            while not reactions:
                await asyncio.sleep(0.02)
    (reaction,) = reactions
    assert reaction.event.key == "mic-2/speech"
    assert reaction.run is not None
    described = reaction.run.node("voices")
    assert described is not None
    assert (reaction.run.state, described.ended_items) == (RunState.DONE, 2)
    _, outputs = await asyncio.to_thread(run, session, voices, {"segments": reaction.event.value["segments"]})
    expected, _ = PlainRuns(packaged_store).run(voices, {"segments": reaction.event.value["segments"]})
    for voice, other in zip(outputs["voices"], expected["voices"], strict=True):
        assert np.array_equal(voice.pop("spectrogram"), other.pop("spectrogram"))
        assert voice == other
