"""Times of operations: every kernel's time lands on operations, all of it, where the work is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.conv_net import conv_net
from support.profiles import made_up_profile
from tercet.errors import SpecError
from tercet.profile import KernelTime, Profile
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.op_times import operation_times_ms, segment_operations

GRAPH = OnnxGraph(conv_net(blocks=2))
BOUNDARIES = (("x",), ("b0",), ("b1",), ("scores",))


def kernel(node: str, ms: float, op_type: str = "Conv") -> KernelTime:
    return KernelTime(node=node, op_type=op_type, ms=ms)


def profile(*kernels: list[KernelTime]) -> Profile:
    return made_up_profile(model_sha256=GRAPH.sha256, boundaries=BOUNDARIES, kernels=kernels)


def by_output(times_ms: np.ndarray) -> dict[str, float]:
    return {operation.gives[0]: float(times_ms[operation.index]) for operation in GRAPH.operations}


def test_segments_are_found_again_by_their_boundaries() -> None:
    outputs = [
        [GRAPH.operations[index].gives[0] for index in operations]
        for operations in segment_operations(profile([kernel("a", 1)], [kernel("b", 1)], [kernel("c", 1)]), GRAPH)
    ]
    assert outputs[0] == ["first", "b0"]
    assert outputs[1] == ["c0", "c0_warm", "c0_again", "b1"]
    assert outputs[2][-2:] == ["pooled", "scores"]


def test_a_fused_kernel_named_after_its_last_output_is_mostly_its_convolution() -> None:
    times = by_output(
        operation_times_ms(
            profile(
                [kernel("b0_nchwc", 5)], [kernel("c0_warm_nchwc", 3), kernel("b1_nchwc", 2)], [kernel("scores", 1)]
            ),
            GRAPH,
        )
    )
    assert times["first"] + times["b0"] == pytest.approx(5)
    assert times["first"] > times["b0"]
    assert times["c0"] + times["c0_warm"] == pytest.approx(3)
    assert times["c0_again"] + times["b1"] == pytest.approx(2)
    assert times["c0"] > 1


def test_a_kernel_named_after_a_node_takes_in_what_was_fused_after_it() -> None:
    times = by_output(
        operation_times_ms(
            profile(
                [kernel("node_first", 4)],
                [kernel("node_c0", 2), kernel("fused node_c0_again", 6, "FusedConv")],
                [kernel("scores", 1)],
            ),
            GRAPH,
        )
    )
    assert times["first"] + times["b0"] == pytest.approx(4)
    assert times["c0"] + times["c0_warm"] == pytest.approx(2)
    assert times["c0_again"] + times["b1"] == pytest.approx(6)


def test_kernels_of_unknown_name_go_to_operations_that_have_none() -> None:
    times = by_output(
        operation_times_ms(
            profile([kernel("b0_nchwc", 5)], [kernel("c0_warm", 3), kernel("", 2)], [kernel("?", 1)]), GRAPH
        )
    )
    assert times["c0"] + times["c0_warm"] == pytest.approx(3)
    assert times["c0_again"] + times["b1"] == pytest.approx(2)


NAMES = st.sampled_from(
    [
        name
        for operation in GRAPH.operations
        for name in (*operation.gives, operation.node.name, "fused " + operation.gives[0])
    ]
    + ["", "fused ", "ReorderOutput", "unheard-of", "_nchwc"]
)
SEGMENT = st.lists(st.tuples(NAMES, st.floats(0, 100)), min_size=1, max_size=8)


@given(st.tuples(SEGMENT, SEGMENT, SEGMENT))
def test_every_segments_time_is_in_its_operations_and_none_is_negative(
    segments: tuple[list[tuple[str, float]], ...],
) -> None:
    measured = profile(*([kernel(name, ms) for name, ms in some] for some in segments))
    times_ms = operation_times_ms(measured, GRAPH)
    assert (times_ms >= 0).all()
    for segment, operations in zip(measured.segments, segment_operations(measured, GRAPH), strict=True):
        assert times_ms[operations].sum() == pytest.approx(segment.kernel_ms, abs=1e-9)


def test_a_profile_of_another_model_is_refused() -> None:
    with pytest.raises(SpecError, match="run `tercet profile` again"):
        operation_times_ms(made_up_profile(), GRAPH)
