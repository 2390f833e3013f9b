"""Drawn pipelines are sound, differ, and say what they give; a wrong result is told from a right one."""

from __future__ import annotations

from chaos.pipelines.shape import Shape, alike
from tercet_cloud.dag.graph import compile_graph

SEEDS = range(30)


def test_every_drawn_pipeline_is_a_sound_graph_whose_mapped_and_traced_steps_are_planned() -> None:
    for seed in SEEDS:
        shape = Shape.drawn(seed)
        pipeline = shape.pipeline()
        assert len(compile_graph(pipeline).steps) == len(pipeline.nodes)
        planned = {step.partition("/")[0] for step in shape.executions()}
        traced = {name for name, node in pipeline.nodes.items() if "trace" in node.needs}
        assert planned == traced - {"never"}


def test_a_seed_draws_the_same_pipeline_again_and_others_differ() -> None:
    assert Shape.drawn(3) == Shape.drawn(3)
    assert len({Shape.drawn(seed).pipeline().model_dump_json() for seed in SEEDS}) == len(SEEDS)


def test_another_number_another_strip_or_a_missing_part_is_no_right_result() -> None:
    right = {"stumbling": 7, "turned": [0.25, 0.5]}
    assert alike({"stumbling": 7, "turned": [0.25, 0.50001]}, right)
    for wrong in (
        {"stumbling": 8, "turned": [0.25, 0.5]},
        {"stumbling": 7, "turned": [0.5, 0.25]},
        {"stumbling": 7, "turned": [0.25]},
        {"stumbling": 7},
        None,
    ):
        assert not alike(wrong, right)
