"""Beside the network's picture: what each tier has to do, and every tensor that crosses a link."""

from __future__ import annotations

from tercet_cloud.drawing.markup import Markup, clip, element, join
from tercet_cloud.planner.report.chart_axes import swatch
from tercet_cloud.planner.report.plan_report import PlanReport
from tercet_cloud.planner.report.wording import TIERS, in_bytes, in_ms

_MOST_TENSORS = 40


def list_tiers(report: PlanReport) -> Markup:
    """Operations, time with coding, and weights by tier."""
    candidate, prediction = report.chosen.candidate, report.chosen.prediction
    every = set(range(len(report.graph.operations)))
    shares = (candidate.device, candidate.until_cloud - candidate.device, every - candidate.until_cloud)
    spent = (prediction.device_ms, prediction.edge_ms, prediction.cloud_ms)
    rows = [
        element(
            "tr",
            element("td", swatch(f"tier {tier}"), " ", tier, class_="name"),
            element("td", f"{len(share)}", class_="number"),
            element("td", in_ms(ms), class_="number"),
            element(
                "td", in_bytes(sum(report.operations[index].weights_bytes for index in share)), class_="number"
            ),
        )
        for tier, share, ms in zip(TIERS, shares, spent, strict=True)
    ]
    headings = [element("th", "tier")]
    headings += [element("th", words, class_="number") for words in ("operations", "time", "weights")]
    return element("table", element("thead", element("tr", *headings)), element("tbody", *rows))


def list_crossings(report: PlanReport) -> Markup:
    """By link: codec, time, and every tensor with its bytes raw and as coded."""
    parts = [_link(report, link) for link in (0, 1)]
    return join(part for part in parts if part) or element("p", "Nothing crosses a link: the device does it all.")


def _link(report: PlanReport, link: int) -> Markup:
    candidate, prediction = report.chosen.candidate, report.chosen.prediction
    names = candidate.crossing(report.graph, link)
    if not names:
        return Markup("")
    spent = (prediction.device_edge_ms, prediction.edge_cloud_ms)[link]
    wire = (prediction.device_edge_bytes, prediction.edge_cloud_bytes)[link]
    codec = clip(candidate.codecs[link], 40)
    rows = [_tensor(report, link, name) for name in names[:_MOST_TENSORS]]
    if len(names) > _MOST_TENSORS:
        rows.append(element("tr", element("td", f"and {len(names) - _MOST_TENSORS} more", colspan="3")))
    headings = [element("th", "tensor"), *(element("th", words, class_="number") for words in ("raw", "coded"))]
    table = element("table", element("thead", element("tr", *headings)), element("tbody", *rows))
    said = f"{codec}, {in_bytes(wire)} on the wire, {in_ms(spent)} with the answer’s way back"
    return element(
        "div",
        element("h3", swatch(f"link-{link}"), f" {TIERS[link]} → {TIERS[link + 1]}"),
        element("p", said, class_="note"),
        table,
    )


def _tensor(report: PlanReport, link: int, name: str) -> Markup:
    raw, coded = report.tensor_bytes.get(name), report.coded_bytes[link].get(name)
    return element(
        "tr",
        element("td", clip(name, 90), class_="tensor"),
        element("td", "—" if raw is None else in_bytes(raw), class_="number"),
        element("td", "—" if coded is None else in_bytes(coded), class_="number"),
    )
