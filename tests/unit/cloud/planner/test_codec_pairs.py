from __future__ import annotations

import numpy as np

from tercet_cloud.planner.costs.codec_pairs import worthwhile_pairs
from tercet_cloud.planner.costs.frame_costs import CodedTensors
from tercet_cloud.planner.measuring.coding_table import MenuCodec

CODECS = (
    MenuCodec(title="raw", spec="raw", lossless=True),
    MenuCodec(title="int8", spec="int8"),
    MenuCodec(title="png", spec="png", lossless=True, image=True),
    MenuCodec(title="jpeg:90", spec="jpeg:90", image=True),
)
# Each better than the one before in bytes and worse in time, so that none beats another.
CODED = [
    CodedTensors(np.array([4.0 - index]), np.array([float(index)]), np.array([float(index)]))
    for index in range(len(CODECS))
]


def test_no_picture_is_made_of_what_a_lossy_tensor_codec_gave() -> None:
    pairs = worthwhile_pairs(CODECS, CODED)
    assert {pair for pair in pairs if pair[0] == "int8"} == {("int8", "raw"), ("int8", "int8")}
    assert {("raw", "png"), ("jpeg:90", "png"), ("png", "jpeg:90"), ("png", "raw")} <= set(pairs)
