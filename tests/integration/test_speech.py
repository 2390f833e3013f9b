"""The speech gate: what a device hears, and what by event reaches the cloud."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.plain_pipeline import PlainRuns
from support.recordings import RATE_HZ, beeps, hiss, quiet, sentence, wav
from support.shipped_pipelines import shipped_file, shipped_pipeline
from tercet.codecs.codec import Float32Array
from tercet.models.store import Store
from tercet_cloud.dag.events.bus import Event
from tercet_cloud.dag.events.rules import RuleTable, Trigger, read_rules


def heard(store: Store, recording: Float32Array) -> dict[str, Any]:
    """What the device's pipeline gives."""
    outputs, skipped = PlainRuns(store).run(shipped_pipeline("speech", store), {"sound": wav(recording)})
    assert not skipped
    gate: dict[str, Any] = outputs["heard"]
    return gate


def triggers(gate: dict[str, Any]) -> list[Trigger]:
    rules = read_rules(shipped_file("speech-rules.yaml"))
    return RuleTable(rules).changed(Event("mic-1/speech", gate, "0" * 64, 0.0), 0.0)


def test_only_what_is_spoken_reaches_the_cloud(packaged_store: Store) -> None:
    recording = np.concatenate([sentence(["42", "917"], 0.6), hiss(1.0, 0.01)])
    gate = heard(packaged_store, recording)
    second_s = len(sentence(["42"], 0.6)) / RATE_HZ
    assert [segment["start_s"] for segment in gate["segments"]] == pytest.approx([0.6, second_s], abs=0.1)
    assert gate["seconds"] == len(recording) / RATE_HZ
    assert 0.25 * gate["seconds"] < gate["spoken_s"] < 0.6 * gate["seconds"]

    (trigger,) = triggers(gate)
    assert trigger.rule.pipeline == shipped_file("voices.yaml")
    inputs = trigger.rule.inputs_of(trigger.event)
    outputs, _ = PlainRuns(packaged_store).run(shipped_pipeline("voices", packaged_store), inputs)
    assert len(outputs["voices"]) == 2
    for voice, segment in zip(outputs["voices"], gate["segments"], strict=True):
        assert voice["start_s"] == segment["start_s"]
        assert len(voice["spectrogram"]) == pytest.approx((voice["end_s"] - voice["start_s"]) * 100, abs=3)
        assert 200 < voice["centre_hz"] < 2000
        assert -40 < voice["level_db"] < -3


@pytest.mark.parametrize("recording", [beeps(), hiss(1.0), quiet(1.0)], ids=["beeps", "hiss", "silence"])
def test_a_recording_without_speech_stays_on_the_device(packaged_store: Store, recording: Float32Array) -> None:
    gate = heard(packaged_store, recording)
    assert (gate["speech"], gate["spoken_s"], gate["segments"]) == (False, 0, [])
    assert triggers(gate) == []
