"""Blocks, rows and lanes: nothing lost, nothing out of order, nothing on top of another."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.plan_reports import branching_network, made_report, onnx_network
from support.random_graphs import flow_graphs, tiers_of
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.report import network_blocks
from tercet_cloud.planner.report.network_blocks import Block, gather_blocks
from tercet_cloud.planner.report.network_layout import Item, lay_out
from tercet_cloud.planner.report.network_scene import arrange


def check_blocks(graph: CutGraph, tiers: list[int], blocks: tuple[Block, ...]) -> None:
    owner = {index: number for number, block in enumerate(blocks) for index in block.operations}
    assert sorted(owner) == list(range(len(graph.operations)))
    assert sum(len(block.operations) for block in blocks) == len(owner)
    for block in blocks:
        assert {tiers[index] for index in block.operations} == {block.tier}
    for first, second in graph.edges:
        if owner[first] != owner[second]:
            assert blocks[owner[first]].row < blocks[owner[second]].row
    for tier in (0, 1):
        above = [block.row for block in blocks if block.tier <= tier]
        below = [block.row for block in blocks if block.tier > tier]
        assert not above or not below or max(above) < min(below)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_blocks_hold_every_operation_once_and_data_flows_down(data: st.DataObject) -> None:
    graph = data.draw(flow_graphs())
    tiers = data.draw(tiers_of(graph))
    starts = data.draw(st.sets(st.integers(0, len(tiers) - 1)))
    check_blocks(graph, tiers, gather_blocks(graph, tiers, starts))


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_gathering_as_much_as_can_be_keeps_data_flowing_down(data: st.DataObject) -> None:
    graph = data.draw(flow_graphs(most=25))
    tiers = data.draw(tiers_of(graph))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_blocks, "MOST_ROWS", 1)
        patch.setattr(network_blocks, "WIDEST_ROW", 1)
        blocks = gather_blocks(graph, tiers)
    check_blocks(graph, tiers, blocks)


@given(st.data())
@settings(max_examples=5, deadline=None)
def test_a_large_tangle_still_fits_the_page(data: st.DataObject) -> None:
    graph = data.draw(flow_graphs(most=150))
    tiers = data.draw(tiers_of(graph))
    blocks = gather_blocks(graph, tiers, range(len(tiers)))
    check_blocks(graph, tiers, blocks)
    assert max(block.row for block in blocks) <= 40


@pytest.mark.parametrize("name", ["densenet121", "inception_v1", "resnet50", "shufflenet"])
def test_real_networks_fit_the_page(name: str) -> None:
    network = onnx_network(name)
    count = len(network.graph.operations)
    for device, until_cloud in ((0, 0), (count // 3, 2 * count // 3), (count, count)):
        tiers = [(index >= device) + (index >= until_cloud) for index in range(count)]
        blocks = gather_blocks(network.graph, tiers)
        check_blocks(network.graph, tiers, blocks)
        assert max(block.row for block in blocks) <= 36


def test_a_small_network_is_drawn_layer_by_layer() -> None:
    report = made_report(onnx_network("squeezenet"), cells=2)
    kinds = [operation.op_type for operation in report.operations]
    blocks = [placed.block for placed in arrange(report).boxes if placed.block]
    assert len(blocks) >= kinds.count("Conv")
    assert all(sum(kinds[index] == "Conv" for index in block.operations) <= 1 for block in blocks)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_box_lies_on_another_and_every_reader_is_reached(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 25))
    items = [Item(0, 50.0, ())]
    for number in range(1, count):
        takes = data.draw(st.sets(st.integers(0, number - 1), min_size=1, max_size=3))
        items.append(Item(max(items[other].row for other in takes) + 1, 50.0, tuple(sorted(takes))))
    layout = lay_out(items, gap=10.0, lane_width=8.0, lane_widths={})
    spans = defaultdict(list)
    for item, x in zip(items, layout.x, strict=True):
        spans[item.row].append((x - item.width / 2, x + item.width / 2))
    for lane in layout.lanes:
        for row, x in lane.x_by_row.items():
            if row != items[lane.source].row:
                spans[row].append((x - 4, x + 4))
        assert sorted(lane.x_by_row) == list(range(items[lane.source].row, max(lane.x_by_row) + 1))
        assert all(items[reader].row - 1 in lane.x_by_row for reader in lane.readers)
    for row in spans.values():
        assert all(first[1] + 10 <= second[0] + 1e-6 for first, second in pairwise(sorted(row)))
        assert min(start for start, _ in row) >= -1e-6
        assert max(end for _, end in row) <= layout.width + 1e-6
    reached = {(lane.source, reader) for lane in layout.lanes for reader in lane.readers}
    assert reached == {(other, number) for number, item in enumerate(items) for other in item.takes}


@pytest.mark.parametrize(("device", "until_cloud"), [(0.0, 0.0), (0.3, 0.3), (0.3, 0.6), (0.4, 1.0), (1.0, 1.0)])
def test_the_tensors_marked_at_a_cut_are_those_that_cross_it(device: float, until_cloud: float) -> None:
    network = branching_network(120)
    count = len(network.graph.operations)
    cut = (round(count * device), round(count * until_cloud), ("int8+zstd:3", "raw"))
    report = made_report(network, cut=cut, cells=2)
    scene = arrange(report)
    assignment = report.chosen.candidate.assignment(network.graph)
    assert [cut.link for cut in scene.cuts] == [link for link in (0, 1) if assignment.uses(link)]
    for cut_drawn in scene.cuts:
        marked = sorted(tensor for crossing in cut_drawn.crossings for tensor in crossing.tensors)
        assert tuple(marked) == assignment.crossing(network.graph, cut_drawn.link)
    assert sum(row.compute_ms for row in scene.rows) == pytest.approx(
        sum(ms * (12.0, 3.0, 0.5)[(index >= cut[0]) + (index >= cut[1])] for index, ms in enumerate(network.op_ms))
    )
