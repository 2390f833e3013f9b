"""`tercet plan --html`: one page that stands alone.

No script, nothing fetched; well-formed as XML too. Every name on it comes from a model or a topology that a
stranger may have made, so all text is escaped by `drawing.markup`, and a content security policy forbids scripts
besides.
"""

from __future__ import annotations

from collections.abc import Sequence

from tercet_cloud.drawing.markup import Markup, box, clip, element, join
from tercet_cloud.planner.report.chart_axes import latency_legend
from tercet_cloud.planner.report.comparison_table import compare_baselines, list_considered
from tercet_cloud.planner.report.condition_map import draw_map, map_legend
from tercet_cloud.planner.report.latency_curve import draw_curve
from tercet_cloud.planner.report.network_drawing import draw_network
from tercet_cloud.planner.report.network_facts import list_crossings, list_tiers
from tercet_cloud.planner.report.page_style import STYLE
from tercet_cloud.planner.report.pareto_plot import draw_pareto, pareto_legend
from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.wording import ROUTE_LENGTH, in_bytes, in_ms, three_digits

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_SENTENCE = 2000


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
    main = element(
        "main",
        element("h1", f"Plan for {name}"),
        element("p", clip(route_text(report.chosen.candidate, report.graph), ROUTE_LENGTH), class_="lead"),
        element("p", _headline(report)),
        _tiles(report),
        _rests(report),
        _network(report),
        _comparison(report),
        _words("Why this plan", report.explanation),
        _curve(report),
        _pareto(report),
        _map(report),
    )
    return join([Markup("<!DOCTYPE html>\n"), element("html", head, element("body", _patterns(), main), lang="en")])


def _headline(report: PlanReport) -> str:
    """The chosen plan beside the best baseline that keeps the constraints, by the objective."""
    chosen = report.chosen
    words = f"Objective: {clip(report.objective, 120)}: {three_digits(chosen.value)} for the chosen plan"
    allowed = [row for row in report.baselines if row.broken is None]
    if not allowed:
        return f"{words}. No baseline keeps all constraints."
    best = min(allowed, key=lambda row: row.value)
    ratio = f" (×{best.value / chosen.value:.2f})" if chosen.value > 0 else ""
    value = f"{three_digits(best.value)}{ratio}"
    return f"{words}, {value} for the best baseline that keeps the constraints, {clip(best.name, 120)}."


def _tiles(report: PlanReport) -> Markup:
    row, prediction = report.chosen, report.chosen.prediction
    frames = 1000 / prediction.bottleneck_ms if prediction.bottleneck_ms else 0.0
    tiles = [
        ("latency", in_ms(prediction.latency_ms), "predicted, one frame"),
        ("throughput", f"{three_digits(frames)} /s" if frames else "—", "frames, by the busiest stage"),
        ("device–edge", in_bytes(prediction.device_edge_bytes), "a frame"),
        ("edge–cloud", in_bytes(prediction.edge_cloud_bytes), "a frame"),
        ("device energy", f"{three_digits(prediction.device_energy_mj)} mJ", "a frame"),
        ("device memory", in_bytes(prediction.device_memory_bytes), "runtime, weights, activations"),
        ("accuracy", *_accuracy(row)),
    ]
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value), element("dd", words))
            for name, value, words in tiles
        ),
        class_="tiles",
    )


def _accuracy(row: PlanRow) -> tuple[str, str]:
    measured = row.accuracy
    if measured is None:
        return "—", "not measured"
    return f"{measured.agreement:.3f}", f"{clip(measured.metric, 40)}; drop ≤ {measured.drop_bound:.3f}"


def _rests(report: PlanReport) -> Markup:
    """What the figures rest on comes before any of them is drawn."""
    left = [element("h2", "What these figures rest on"), _bullets(report.circumstances)]
    if report.emulation:
        left.insert(1, element("p", element("strong", clip(report.emulation, _SENTENCE))))
    right = [element("h2", "What a plan has to keep"), _bullets(report.constraints or ("no constraint",))]
    right.append(
        element(
            "p",
            f"{len(report.considered)} other plans considered, solved in {in_ms(report.solve_ms)}.",
            class_="note",
        )
    )
    return element(
        "section", element("div", element("div", *left), element("div", *right), class_="columns"), class_="rests"
    )


def _network(report: PlanReport) -> Markup:
    words = (
        "From the input down to the answer. Blocks are runs of operations, coloured by the tier that runs them; "
        "red marks a cut, with the bytes that cross there as coded. Point at a block or a line for names."
    )
    beside = element("div", list_tiers(report), list_crossings(report), class_="beside")
    drawing = _scroll(draw_network(report), "network")
    return _figure(report, "The network and its cuts", words, element("div", drawing, beside, class_="split"))


def _comparison(report: PlanReport) -> Markup:
    words = f"Objective: {clip(report.objective, 120)}; × beside the chosen plan’s."
    if (accuracy := report.chosen.accuracy) is not None:
        words += f" Accuracy: {clip(accuracy.metric, 60)} on {accuracy.frames} frames with its 95 % interval."
    return _figure(
        report,
        "Beside the baselines",
        words,
        latency_legend(),
        _scroll(compare_baselines(report), "table of plans"),
        list_considered(report),
    )


def _curve(report: PlanReport) -> Markup:
    if not report.curve:
        return Markup("")
    words = "Every place where the device may stop, with the best codecs and the best second cut for it."
    return _figure(report, "Latency by cut", words, latency_legend(), _scroll(draw_curve(report), "latency by cut"))


def _pareto(report: PlanReport) -> Markup:
    words = "Down is quicker, left is lighter. No plan is both quicker and lighter than one on the front."
    return _figure(
        report, "Latency against bytes", words, pareto_legend(report), _scroll(draw_pareto(report), "Pareto front")
    )


def _map(report: PlanReport) -> Markup:
    if not report.map_cells:
        return Markup("")
    words = "The best plan if the device–edge link were as the axes say, all else as it is, and its latency in ms."
    if report.stated_link:
        words += " The ring is where the topology’s own link lies."
    return _figure(
        report, "Best plan by link", words, _scroll(draw_map(report), "map of plans"), map_legend(report)
    )


def _figure(report: PlanReport, title: str, words: str, *content: Markup) -> Markup:
    emulated = f" {clip(report.emulation, _SENTENCE)}" if report.emulation else ""
    return element(
        "figure",
        element("h2", title),
        element("figcaption", f"{words} Times are predicted from profiles.{emulated}"),
        *content,
    )


def _scroll(content: Markup, label: str) -> Markup:
    """Wide content moves sideways by itself, not the page."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def _words(title: str, sentences: Sequence[str]) -> Markup:
    return element("section", element("h2", title), _bullets(sentences)) if sentences else Markup("")


def _bullets(sentences: Sequence[str]) -> Markup:
    return element("ul", *(element("li", clip(sentence, _SENTENCE)) for sentence in sentences))


def _patterns() -> Markup:
    """Fills that the style sheet names: one hatching a link, dots for the tenth plan and on."""

    def pattern(name: str, size: float, *shapes: Markup) -> Markup:
        return element("pattern", *shapes, id=name, width=size, height=size, patternUnits="userSpaceOnUse")

    ground = box(0, 0, 8, 8, class_="hatch-ground")
    definitions = element(
        "defs",
        pattern("hatch-0", 8, ground, element("path", d="M-2 2l4-4M0 8l8-8M6 10l4-4", class_="hatch")),
        pattern("hatch-1", 8, ground, element("path", d="M0 2h8M0 6h8", class_="cross")),
        pattern(
            "dots",
            8,
            element("circle", cx=2, cy=2, r=1, class_="dot"),
            element("circle", cx=6, cy=6, r=1, class_="dot"),
        ),
    )
    return element("svg", definitions, width=0, height=0, aria_hidden="true", style="position:absolute")
