"""`tercet plan --html`: one page that stands alone.

No script, nothing fetched; well-formed as XML too. Every name on it comes from a model or a topology that a stranger
may have made, so all text is escaped by `drawing.markup`, and a content security policy forbids scripts besides.
"""

from __future__ import annotations

from tercet_cloud.drawing.markup import Markup, clip, element, join
from tercet_cloud.planner.report.network_drawing import draw_network
from tercet_cloud.planner.report.page_style import STYLE
from tercet_cloud.planner.report.plan_report import PlanReport
from tercet_cloud.planner.report.wording import describe_plan

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(report: PlanReport) -> str:
    """The page as HTML text, to be written as UTF-8."""
    name = clip(report.model, 120)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"Plan for {name}"),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        element(
            "main",
            element("h1", f"Plan for {name}"),
            element("p", describe_plan(report.chosen.candidate, report.graph), class_="lead"),
            element("figure", element("div", draw_network(report), class_="scroll")),
        ),
    )
    return join([Markup("<!DOCTYPE html>\n"), element("html", head, body, lang="en"), Markup("\n")])
