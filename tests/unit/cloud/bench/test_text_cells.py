from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tercet.inference.whole_model import WholeModel
from tercet_cloud.bench.text_cells import CELL, SIDE, text_cells, write_text_photos


def detector() -> onnx.ModelProto:
    """Takes pictures of any size, gives the first channel's values as its map of probabilities."""
    graph = helper.make_graph(
        [
            helper.make_node("Split", ["x"], ["red", "green", "blue"], axis=1),
            helper.make_node("Identity", ["red"], ["map"]),
        ],
        "detector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", 1, "h", "w"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def test_cells_are_marked_where_their_mean_is_over_the_threshold() -> None:
    model = text_cells(detector())
    onnx.checker.check_model(model, full_check=True)
    pictures = np.zeros((1, 3, SIDE, SIDE), np.float32)
    pictures[0, 0, :CELL, CELL : 2 * CELL] = 0.4
    pictures[0, 0, 8, 8] = 1.0
    (cells,) = WholeModel(model.SerializeToString()).run({"x": pictures}).values()
    assert cells.dtype == np.uint8
    assert cells.shape == (1, 1, SIDE // CELL, SIDE // CELL)
    assert np.argwhere(cells[0, 0]).tolist() == [[0, 1]]


def test_text_photos_are_their_seeds(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_text_photos(tmp_path / name, 3, seed)
    a, b, c = ([path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "abc")
    assert a == b
    assert len(set(a)) == 3
    assert set(a).isdisjoint(c)
