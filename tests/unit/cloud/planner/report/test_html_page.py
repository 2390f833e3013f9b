"""The page stands alone, is well-formed, escapes every name, shows every plan and stays small."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.plan_reports import branching_network, made_report, onnx_network
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.report.html_page import render_page
from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.wording import in_bytes, in_ms

HOSTILE = "</title><script>alert('x')</script><img src=x onerror=alert(1)>\x00\u202e\"'&"
FETCHED = re.compile(r"""(?:src|href|action|data|poster|srcset)\s*=|@import|url\((?!#)|https?:|//[a-z]""", re.I)


@cache
def squeezenet() -> PlanReport:
    return made_report(onnx_network("squeezenet"), cut=(20, 46, ("int8+zstd:3", "fp16")), cells=5)


def parse(page: str) -> ElementTree.Element:
    assert page.startswith("<!DOCTYPE html>")
    return ElementTree.fromstring(page)


def words_of(page: str) -> str:
    return "".join(parse(page).itertext())


def renamed(report: PlanReport, name: str) -> PlanReport:
    """Every word of `report` that comes from a model or a topology, replaced."""

    def row(old: PlanRow) -> PlanRow:
        accuracy = replace(old.accuracy, metric=name) if old.accuracy else None
        candidate = replace(old.candidate, codecs=(name, name))
        return replace(old, name=name, note=name, broken=name, accuracy=accuracy, candidate=candidate)

    graph = CutGraph(
        tuple(name for _ in report.graph.operations),
        tuple(replace(tensor, name=f"{name}{index}") for index, tensor in enumerate(report.graph.tensors)),
    )
    return replace(
        report,
        model=name,
        circumstances=(name,),
        objective=name,
        chosen=row(report.chosen),
        baselines=tuple(map(row, report.baselines)),
        considered=tuple(map(row, report.considered[:20])),
        curve=tuple(replace(point, boundary=(name, name), codecs=(name, name)) for point in report.curve),
        pareto=tuple(map(row, report.pareto)),
        map_plans=tuple(map(row, report.map_plans)),
        explanation=(name,),
        graph=graph,
        operations=tuple(replace(item, name=name, op_type=name) for item in report.operations),
        tensor_bytes={tensor.name: 100 for tensor in graph.tensors},
        emulation=name,
        constraints=(name,),
        coded_bytes=({tensor.name: 9.0 for tensor in graph.tensors}, {}),
    )


def test_the_page_is_well_formed_and_fetches_nothing() -> None:
    page = render_page(squeezenet())
    root = parse(page)
    assert not FETCHED.search(page)
    assert {"script", "link", "iframe", "object", "embed", "img"}.isdisjoint(item.tag for item in root.iter())
    policy = root.find(".//meta[@http-equiv='Content-Security-Policy']")
    assert policy is not None
    assert policy.get("content", "").startswith("default-src 'none'")


def test_every_fill_that_is_named_exists() -> None:
    page = render_page(squeezenet())
    assert set(re.findall(r"url\(#([\w-]+)\)", page)) == set(re.findall(r'<pattern id="([\w-]+)"', page))


def test_both_colour_schemes_name_the_same_colours() -> None:
    page = render_page(squeezenet())
    light, dark = re.findall(r":root \{(.*?)\}", page, re.S)
    used = set(re.findall(r"var\(--([\w-]+)\)", page)) - {"tier"}
    assert used <= set(re.findall(r"--([\w-]+):", light))
    assert set(re.findall(r"--([\w-]+):", dark)) <= set(re.findall(r"--([\w-]+):", light))
    assert "prefers-color-scheme: dark" in page


def test_a_hostile_name_is_text_wherever_it_stands() -> None:
    report = squeezenet()
    page = render_page(renamed(report, HOSTILE))
    tame = parse(render_page(renamed(report, "name")))
    hostile = parse(page)
    assert [item.tag for item in hostile.iter()] == [item.tag for item in tame.iter()]
    assert not any(key.lower().startswith("on") for item in hostile.iter() for key in item.attrib)
    assert "<script" not in page
    assert "\u202e" not in page


@given(st.text(max_size=30))
@settings(max_examples=12, deadline=None)
def test_any_name_leaves_the_page_well_formed(name: str) -> None:
    page = render_page(renamed(squeezenet(), name))
    parse(page)
    page.encode()


def test_names_cannot_make_the_page_large() -> None:
    plain = len(render_page(renamed(squeezenet(), "name")))
    assert len(render_page(renamed(squeezenet(), "n" * 100_000))) < plain + 400_000


def test_every_plan_and_every_sentence_stands_on_the_page() -> None:
    report = squeezenet()
    words = words_of(render_page(report))
    for row in (report.chosen, *report.baselines, *report.map_plans):
        assert row.name in words
        assert row.note in words
        assert route_text(row.candidate, report.graph) in words
    for row in (report.chosen, *report.baselines):
        assert in_ms(row.prediction.latency_ms) in words
    for sentence in (*report.circumstances, *report.explanation, *report.constraints):
        assert sentence in words


def test_what_is_emulated_is_said_at_every_picture() -> None:
    report = squeezenet()
    captions = parse(render_page(report)).findall(".//figcaption")
    assert len(captions) == 5
    assert all(report.emulation in "".join(caption.itertext()) for caption in captions)


def test_every_tensor_that_crosses_is_listed_raw_and_coded() -> None:
    report = squeezenet()
    words = words_of(render_page(report))
    for link in (0, 1):
        for name in report.chosen.candidate.crossing(report.graph, link):
            raw, coded = report.tensor_bytes[name], report.coded_bytes[link][name]
            assert f"{name}{in_bytes(raw)}{in_bytes(coded)}" in words


def test_every_cut_and_every_map_cell_can_be_pointed_at() -> None:
    report = squeezenet()
    root = parse(render_page(report))
    titles = ["".join(title.itertext()) for title in root.findall(".//title")]
    assert sum(title.startswith("cut at ") for title in titles) == len(report.curve)
    assert sum("round trip" in title for title in titles) == len(report.map_cells)


def test_a_plan_that_breaks_a_constraint_says_so_and_is_no_yardstick() -> None:
    report = squeezenet()
    broken = tuple(replace(row, broken="deadline: 20 ms too late") for row in report.baselines)
    words = words_of(render_page(replace(report, baselines=broken)))
    assert words.count("breaks deadline: 20 ms too late") == len(broken)
    assert "No baseline keeps all constraints" in words


@pytest.mark.parametrize(
    "network", [branching_network(700), onnx_network("densenet121")], ids=lambda item: item.name
)
def test_a_network_of_seven_hundred_operations_makes_a_small_page(network) -> None:  # type: ignore[no-untyped-def]
    count = len(network.graph.operations)
    assert count > 650
    report = made_report(network, cut=(count // 2, 4 * count // 5, ("int8+zstd:3", "raw")))
    point = report.curve[0]
    page = render_page(replace(report, curve=(point,) * count, considered=report.considered * 50))
    assert len(page.encode()) < 1_000_000
    parse(page)


def test_a_report_with_next_to_nothing_is_still_a_page() -> None:
    report = squeezenet()
    count = len(report.graph.operations)
    row = made_report(onnx_network("squeezenet"), cut=(count, count, ("raw", "raw")), cells=2).chosen
    nothing = replace(row.prediction, device_ms=0.0, bottleneck_ms=0.0, device_energy_mj=0.0)
    bare = replace(
        report,
        chosen=replace(row, prediction=nothing, value=0.0, accuracy=None),
        baselines=(),
        considered=(),
        curve=(),
        pareto=(),
        map_plans=(),
        map_cells=(),
        explanation=(),
        constraints=(),
        tensor_bytes={},
        emulation="",
        stated_link=None,
    )
    words = words_of(render_page(bare))
    assert "Nothing crosses a link" in words
    assert "not measured" in words


def test_the_same_report_makes_the_same_page() -> None:
    assert render_page(squeezenet()) == render_page(squeezenet())
