"""The chaos suite's model: what it computes, and that its poison is poison."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chaos.model import (
    FAILS_AT_EDGE,
    FAILS_IN_CLOUD,
    IMAGE,
    KILLS_CLOUD,
    KILLS_EDGE,
    draw_photos,
    draw_poison,
    put_model,
)
from tercet.inference.segment_chain import SegmentChain
from tercet.models.photos import preprocess, read_photo
from tercet.models.store import Store

IN_A_PROCESS = """
import sys
from pathlib import Path
from chaos.model import IMAGE, put_model
from tercet.inference.segment_chain import SegmentChain
from tercet.models.photos import preprocess, read_photo
from tercet.models.store import Store
store = Store(Path(sys.argv[1]))
chain = SegmentChain(store.manifest(put_model(store).model), store)
current = {"photo": preprocess(read_photo(Path(sys.argv[2])), IMAGE)}
for tier in range(3):
    current = chain.run(current, tier, tier + 1)
    print(tier, flush=True)
"""


def run_apart(folder: Path, photo: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS, str(folder / "store"), str(photo)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_photo_has_its_own_scores_which_onnx_runtime_finds(tmp_path: Path) -> None:
    album = draw_photos(tmp_path / "photos", 20)
    store = Store(tmp_path / "store")
    chain = SegmentChain(store.manifest(put_model(store).model), store)
    for source in album.sources:
        scores = chain.run({IMAGE.tensor: preprocess(read_photo(Path(source)), IMAGE)}, 0, 3)["scores"]
        assert album.source_of(np.asarray(scores[0], np.float32)) == source
    assert album.source_of(np.zeros(5, np.float32)) is None


@pytest.mark.parametrize(("colour", "gets_to"), [(FAILS_AT_EDGE, ["0"]), (FAILS_IN_CLOUD, ["0", "1"])])
def test_failing_photos_fail_in_their_segment(
    tmp_path: Path, colour: tuple[int, int, int], gets_to: list[str]
) -> None:
    outcome = run_apart(tmp_path, draw_poison(tmp_path / "poison.png", colour))
    assert outcome.returncode == 1
    assert outcome.stdout.split() == gets_to


@pytest.mark.parametrize(("colour", "gets_to"), [(KILLS_EDGE, ["0"]), (KILLS_CLOUD, ["0", "1"])])
def test_killing_photos_kill_the_process_in_their_segment(
    tmp_path: Path, colour: tuple[int, int, int], gets_to: list[str]
) -> None:
    outcome = run_apart(tmp_path, draw_poison(tmp_path / "poison.png", colour))
    assert outcome.returncode == -signal.SIGFPE
    assert outcome.stdout.split() == gets_to
