"""What is read out of ONNX Runtime's trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.conv_net import conv_net
from tercet.inference.kernel_trace import KernelTrace, read_trace, trace_kernels


def event(name: str, start_us: int, length_us: int, op_name: str | None = None) -> dict[str, Any]:
    return {"name": name, "ts": start_us, "dur": length_us, "args": {"op_name": op_name} if op_name else {}}


def one_run(start_us: int, conv_us: int) -> list[dict[str, Any]]:
    return [
        event("in_kernel_time", start_us + 1, 10, "ReorderInput"),
        event("conv_kernel_time", start_us + 12, conv_us, "Conv"),
        event("SequentialExecutor::Execute", start_us, conv_us + 20),
        event("model_run", start_us, conv_us + 20),
    ]


def test_a_trace_gives_medians_over_runs_without_the_first() -> None:
    events = [item for number, us in enumerate((900, 40, 30, 35)) for item in one_run(1000 * number, us)]
    trace = read_trace(events)
    assert [(kernel.node, kernel.op_type, kernel.ms) for kernel in trace.kernels] == [
        ("in", "ReorderInput", 0.010),
        ("conv", "Conv", 0.035),
    ]
    assert trace.run_ms == pytest.approx(0.055)


def test_changes_of_layout_are_not_a_segments_own() -> None:
    trace = read_trace([*one_run(0, 50), *one_run(1000, 50)])
    assert [kernel.node for kernel in trace.own] == ["conv"]
    assert trace.own_share == pytest.approx(50 / 70)


def test_kernels_in_a_branch_are_not_counted_beside_the_branching_one() -> None:
    run = [
        event("model_run", 0, 100),
        event("if_kernel_time", 10, 50, "If"),
        event("inner_kernel_time", 20, 20, "Add"),
    ]
    assert [kernel.node for kernel in read_trace(run).kernels] == ["if"]


def test_kernels_of_one_name_in_one_run_are_summed() -> None:
    run = [event("model_run", 0, 100), event("a_kernel_time", 1, 10, "Add"), event("a_kernel_time", 20, 5, "Add")]
    assert [kernel.ms for kernel in read_trace(run).kernels] == [0.015]


def test_an_interrupted_run_does_not_make_the_kernels_share_smaller() -> None:
    quiet = [*one_run(0, 50), *one_run(1000, 50), *one_run(2000, 50)]
    interrupted = [
        *one_run(0, 50),
        *one_run(1000, 50),
        event("model_run", 2000, 500),
        *(item for item in one_run(2000, 50) if item["name"] != "model_run"),
        *one_run(3000, 50),
    ]
    assert read_trace(interrupted).own_share == read_trace(quiet).own_share


def test_an_empty_trace_is_an_empty_trace() -> None:
    assert read_trace([]) == KernelTrace((), 0.0)
    assert read_trace([]).own_share == 1.0


def test_a_real_session_names_its_kernels() -> None:
    image = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    trace = trace_kernels(conv_net(), {"x": image}, threads=1, providers=["CPUExecutionProvider"], runs=4)
    assert sum(kernel.op_type == "Conv" for kernel in trace.own) >= 9
    assert 0 < trace.own_share <= 1
    assert 0 < sum(kernel.ms for kernel in trace.kernels) <= trace.run_ms
