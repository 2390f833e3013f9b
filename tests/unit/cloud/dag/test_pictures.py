"""Pictures of pipelines and runs are well-formed, show every node once, and draw nothing of what did not happen."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from support import dag_steps
from tercet.errors import NotFoundError
from tercet_cloud.dag.gantt_picture import gantt_picture
from tercet_cloud.dag.graph_picture import MAX_NODES, graph_picture
from tercet_cloud.dag.outcomes import NodeState, RunState
from tercet_cloud.dag.records import ItemRecord, NodeRecord, RunRecord
from tercet_cloud.dag.report import describe_pipeline, describe_run, log_lines
from tercet_cloud.dag.spec import Pipeline

SVG = "{http://www.w3.org/2000/svg}"
PIPELINE = (
    Pipeline(name="p", inputs={"x": "any"})
    .node("first", call=dag_steps.listed, needs={"x": "input.x"}, tier="edge")
    .node("each", call=dag_steps.inc, needs={"x": "first"}, map="x")
    .node("last", builtin="join", needs={"a": "each", "b": "first"})
)
RECORD = RunRecord(
    "r-1",
    "p",
    RunState.FAILED,
    10.0,
    10.0,
    11.0,
    nodes=(
        NodeRecord("first", "edge", (), NodeState.DONE, 1, 10.0, 10.2, log="<b>hello</b>\n"),
        NodeRecord(
            "each",
            "cloud",
            ("first",),
            NodeState.FAILED,
            1,
            10.2,
            10.9,
            "item 1: error: no",
            2,
            (
                ItemRecord(0, NodeState.DONE, 1, 10.2, 10.8),
                ItemRecord(1, NodeState.FAILED, 2, 10.3, 10.9, "error: no"),
            ),
            ("item 1, try 1: error: no",),
        ),
        NodeRecord("last", "cloud", ("each", "first"), NodeState.NOT_RUN),
    ),
)


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_graph_shows_nodes_tiers_states_and_an_arrow_for_every_need() -> None:
    svg = graph_picture(PIPELINE, RECORD)
    shown = texts(svg)
    for name in PIPELINE.nodes:
        assert shown.count(name) == 1
    assert "failed · 2/2 · 700 ms" in shown
    arrows = [path for path in ET.fromstring(svg).iter(f"{SVG}path") if path.get("fill") == "none"]
    assert len(arrows) == 3


def test_a_graph_without_a_run_says_where_nodes_run() -> None:
    assert "edge" in texts(graph_picture(PIPELINE))


def test_a_huge_graph_is_drawn_in_part_and_says_so() -> None:
    many = Pipeline(name="p").with_nodes({f"n{number}": {"builtin": "join"} for number in range(MAX_NODES + 7)})
    assert any("and 7 more nodes" in text for text in texts(graph_picture(many)))


def test_a_gantt_has_a_row_for_what_ran_and_a_bar_for_every_item() -> None:
    svg = gantt_picture(RECORD)
    shown = texts(svg)
    assert "first" in shown
    assert "last" not in shown
    titles = [title.text or "" for title in ET.fromstring(svg).iter(f"{SVG}title")]
    assert len(titles) == 3
    assert any(title.startswith("each 1: failed error: no") for title in titles)


def test_a_gantt_of_a_run_that_has_not_begun_is_a_picture_too() -> None:
    ET.fromstring(gantt_picture(RunRecord("r", "p", submitted_s=5.0)))


def test_a_strangers_words_never_become_elements() -> None:
    node = NodeRecord("<script>", "cloud", (), NodeState.FAILED, 1, 1.0, 2.0, "</title><script>")
    svg = gantt_picture(RunRecord("<x>", "p", nodes=(node,)))
    assert not list(ET.fromstring(svg).iter(f"{SVG}script"))


def test_logs_tell_starts_troubles_words_and_ends_in_order() -> None:
    lines = list(log_lines(RECORD))
    assert [line.split(" ", 1)[1].strip() for line in lines[:3]] == [
        "first: began on edge",
        "first | <b>hello</b>",
        "first: done after 200 ms",
    ]
    assert any("each: item 1, try 1: error: no" in line for line in lines)
    assert all("first" in line for line in log_lines(RECORD, "first"))
    with pytest.raises(NotFoundError, match=r"run r-1 has no node frist \(there: first, each, last\)"):
        list(log_lines(RECORD, "frist"))


def test_tables_name_every_node(tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=160, file=(tmp_path / "out").open("w"))
    console.print(describe_run(RECORD))
    console.print(describe_pipeline(PIPELINE))
    console.file.close()
    text = (tmp_path / "out").read_text()
    assert "run r-1: failed" in text
    assert "2/2" in text
    assert "call support.dag_steps:inc × each x" in text
