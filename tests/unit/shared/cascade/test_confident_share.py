"""How many frames are confident lately, beside usually."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.cascade.confident_share import ConfidentShare


def seen(share: ConfidentShare, random: np.random.Generator, frames: int, confident: float) -> list[float]:
    found = []
    for value in random.uniform(size=frames).tolist():
        share.see(value < confident)
        found.append(share.scarcity)
    return found


@pytest.mark.parametrize("confident", [0.0, 0.02, 0.3, 1.0])
def test_where_nothing_changes_nothing_is_scarce(confident: float) -> None:
    found = seen(ConfidentShare(), np.random.default_rng(1), 5000, confident)
    assert min(found) == 1
    assert np.mean(found) < 1.25
    assert max(found) < 2.5


def test_a_fall_is_seen_within_some_hundred_frames_and_more_is_never_scarce() -> None:
    share, random = ConfidentShare(), np.random.default_rng(2)
    seen(share, random, 3000, 0.8)
    assert seen(share, random, 400, 0.05)[-1] > 3
    assert seen(share, random, 600, 1.0)[-1] == 1


def test_what_lasts_becomes_usual() -> None:
    share, random = ConfidentShare(), np.random.default_rng(3)
    seen(share, random, 3000, 0.8)
    assert seen(share, random, 12_000, 0.1)[-1] < 1.5
