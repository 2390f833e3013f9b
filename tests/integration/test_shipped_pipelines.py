"""The shipped pipelines by the scheduler, on a real Ray: what comes out equals a plain run, node by node."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.plain_pipeline import PlainRuns
from support.recordings import beeps, sentence, wav
from support.shipped_pipelines import all_in_the_cloud, shipped_pipeline
from support.written_pictures import written
from tercet.models.store import Store
from tercet_cloud.dag.call import Means
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.records import RunRecord
from tercet_cloud.dag.session import PipelineSession, SessionOptions
from tercet_cloud.dag.spec import Pipeline

WAIT_S = 120.0


@pytest.fixture(scope="module")
def session(packaged_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineSession]:
    state = tmp_path_factory.mktemp("state")
    with PipelineSession(SessionOptions(workers=2, state=state, means=Means(packaged_store.root))) as held:
        yield held


def run(session: PipelineSession, pipeline: Pipeline, inputs: dict[str, Any]) -> tuple[RunRecord, dict[str, Any]]:
    name = session.submit(all_in_the_cloud(pipeline), inputs)
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


def test_only_what_is_spoken_is_described(session: PipelineSession, packaged_store: Store) -> None:
    pipeline = shipped_pipeline("speech", packaged_store)
    inputs = {"sound": wav(np.concatenate([sentence(["42", "917"], 0.6), beeps()]))}
    record, outputs = run(session, pipeline, inputs)
    expected, _ = PlainRuns(packaged_store).run(pipeline, inputs)
    assert record.state is RunState.DONE
    assert len(outputs["voices"]) == 2
    for voice, other in zip(outputs["voices"], expected["voices"], strict=True):
        assert np.array_equal(voice.pop("spectrogram"), other.pop("spectrogram"))
        assert voice == other
    record, outputs = run(session, pipeline, {"sound": wav(beeps())})
    assert states(record) == {"gate": NodeState.DONE, "voices": NodeState.SKIPPED}
    assert outputs["spoken"] == 0
