"""What the cloud says of a segment, and what it refuses to look at."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.errors import InputError
from tercet_cloud.pipelines.speech.sound import MAX_SECONDS
from tercet_cloud.pipelines.speech.steps import Segment, describe


def segment(rate_hz: int, samples: int = 800) -> Segment:
    return {"start_s": 0.0, "end_s": 0.1, "rate_hz": rate_hz, "samples": np.full(samples, 1000, np.int16)}


def test_a_segment_is_described_at_both_rates() -> None:
    for rate_hz in (8000, 16000):
        assert describe(segment(rate_hz))["level_db"] == pytest.approx(-30.3, abs=0.1)


@pytest.mark.parametrize("rate_hz", [0, -8000, 44_100, 20_000_000])
def test_a_segment_of_another_rate_is_refused_before_anything_is_computed(rate_hz: int) -> None:
    with pytest.raises(InputError, match="record it at 8,000 or 16,000 Hz"):
        describe(segment(rate_hz))


def test_an_endless_segment_is_refused() -> None:
    with pytest.raises(InputError, match="over 600 s"):
        describe(segment(8000, MAX_SECONDS * 8000 + 1))
