"""The speech gate as a pipeline: what a device hears, and what reaches the cloud."""

from __future__ import annotations

import numpy as np
import pytest

from support.plain_pipeline import PlainRuns
from support.recordings import RATE_HZ, beeps, hiss, quiet, sentence, wav
from support.shipped_pipelines import shipped_pipeline
from tercet.codecs.codec import Float32Array
from tercet.models.store import Store
from tercet_cloud.dag.spec import Pipeline


@pytest.fixture(scope="module")
def pipeline(packaged_store: Store) -> Pipeline:
    return shipped_pipeline("speech", packaged_store)


def test_only_what_is_spoken_reaches_the_cloud(packaged_store: Store, pipeline: Pipeline) -> None:
    recording = np.concatenate([sentence(["42", "917"], 0.6), hiss(1.0, 0.01)])
    outputs, skipped = PlainRuns(packaged_store).run(pipeline, {"sound": wav(recording)})
    assert not skipped
    second_s = len(sentence(["42"], 0.6)) / RATE_HZ
    assert [voice["start_s"] for voice in outputs["voices"]] == pytest.approx([0.6, second_s], abs=0.1)
    assert outputs["heard"] == len(recording) / RATE_HZ
    assert 0.25 * outputs["heard"] < outputs["spoken"] < 0.6 * outputs["heard"]
    for voice in outputs["voices"]:
        seconds = voice["end_s"] - voice["start_s"]
        assert len(voice["spectrogram"]) == pytest.approx(seconds * 100, abs=3)
        assert 200 < voice["centre_hz"] < 2000
        assert -40 < voice["level_db"] < -3


@pytest.mark.parametrize("recording", [beeps(), hiss(1.0), quiet(1.0)], ids=["beeps", "hiss", "silence"])
def test_a_recording_without_speech_stays_on_the_device(
    packaged_store: Store, pipeline: Pipeline, recording: Float32Array
) -> None:
    outputs, skipped = PlainRuns(packaged_store).run(pipeline, {"sound": wav(recording)})
    assert skipped == {"voices"}
    assert outputs == {"heard": len(recording) / RATE_HZ, "spoken": 0}
