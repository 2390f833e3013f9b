"""Frames that share a run come out as each alone, also where the first axis inside does not count frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.onnx_models import parse
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet_cloud.measurement.split_runner import SplitRunner

ROWS = """rows (float[N, 3, 4] x) => (float[N, 3, 4] y)
<int64[2] flat = {-1, 4}, int64[3] back = {-1, 3, 4}> {
    a = Relu(x)
    b = Reshape(a, flat)
    c = Exp(b)
    y = Reshape(c, back)
}"""


def test_rows_of_several_frames_are_not_mixed_up(tmp_path: Path) -> None:
    data = parse(ROWS)
    card = ModelCard(
        name="rows",
        task="other",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(data), size_bytes=len(data)),
        input=TensorInput(),
        output="y",
    )
    store = Store(tmp_path)
    store.add_model(card, data)
    frames = [{"x": np.full((1, 3, 4), value, np.float32)} for value in range(5)]
    runner = SplitRunner(store, card, [["c"]])
    inside = runner.run(frames, 0, 1)
    assert [array["c"].shape for array in inside] == [(3, 4)] * 5
    for value, output in enumerate(runner.run(inside, 1, runner.last)):
        assert np.allclose(output["y"], np.exp(np.float32(value)))
