"""The chosen plan beside what else could have been had, a row each with its latency as a stacked bar."""

from __future__ import annotations

from collections.abc import Sequence

from tercet_cloud.drawing.markup import Markup, box, clip, element, join, picture, tooltip
from tercet_cloud.drawing.scales import LinearScale
from tercet_cloud.planner.costs.candidate import MeasuredAccuracy
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.report.chart_axes import PART_CLASSES, mark_swatch, stacked_parts, star
from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.wording import (
    LATENCY_PARTS,
    ROUTE_LENGTH,
    in_bytes,
    in_ms,
    latency_parts,
    three_digits,
)

_BAR, _THICK = 176.0, 14.0
# Bars end at this many times the chosen plan's latency.
_LONGEST = 6.0
_MOST_CONSIDERED = 100
_HEADINGS = (
    ("", ""),
    ("plan", ""),
    ("objective", "number"),
    ("latency", ""),
    ("device–edge", "number"),
    ("edge–cloud", "number"),
    ("accuracy", ""),
    ("energy", "number"),
    ("frames/s", "number"),
)


def compare_baselines(report: PlanReport) -> Markup:
    """The chosen plan and all baselines, numbered as in the Pareto picture."""
    marks = [mark_swatch(star(8, 8, 7)), *(Markup(str(number)) for number in range(1, len(report.baselines) + 1))]
    return _table(report, [report.chosen, *report.baselines], marks)


def list_considered(report: PlanReport) -> Markup:
    """The best of the other plans, in a table that is folded until asked for; empty if there are none."""
    rows = report.considered[:_MOST_CONSIDERED]
    if not rows:
        return Markup("")
    total = len(report.considered)
    words = (
        f"{total} other plans considered" if len(rows) == total else f"the first {len(rows)} of {total} other plans"
    )
    table = element("div", _table(report, rows, [Markup("")] * len(rows)), class_="scroll", tabindex="0")
    return element("details", element("summary", words), table)


def _table(report: PlanReport, rows: Sequence[PlanRow], marks: Sequence[Markup]) -> Markup:
    longest = max(row.prediction.latency_ms for row in (report.chosen, *rows))
    scale = LinearScale(0, max(min(longest, _LONGEST * report.chosen.prediction.latency_ms), 1e-6), 0, _BAR)
    headings = [element("th", words, class_=kind or None) for words, kind in _HEADINGS]
    body = [
        _row(row, mark, report, scale, chosen=row is report.chosen) for row, mark in zip(rows, marks, strict=True)
    ]
    return element("table", element("thead", element("tr", *headings)), element("tbody", *body))


def _row(row: PlanRow, mark: Markup, report: PlanReport, scale: LinearScale, *, chosen: bool) -> Markup:
    prediction = row.prediction
    frames = 1000 / prediction.bottleneck_ms if prediction.bottleneck_ms else 0.0
    ratio = f"×{row.value / report.chosen.value:.2f}" if report.chosen.value > 0 and not chosen else ""
    cells = [
        element("td", mark),
        element("td", *_plan_words(row, report.graph), class_="plan"),
        element("td", three_digits(row.value), element("small", ratio) if ratio else Markup(""), class_="number"),
        element("td", _bar(row, scale), in_ms(prediction.latency_ms)),
        element("td", in_bytes(prediction.device_edge_bytes), class_="number"),
        element("td", in_bytes(prediction.edge_cloud_bytes), class_="number"),
        element("td", *_accuracy(row.accuracy), class_="exact"),
        element("td", f"{three_digits(prediction.device_energy_mj)} mJ", class_="number"),
        element("td", three_digits(frames) if frames else "—", class_="number"),
    ]
    return element("tr", *cells, class_="chosen" if chosen else None)


def _plan_words(row: PlanRow, graph: CutGraph) -> list[Markup]:
    parts = [
        element("strong", clip(row.name, 120)),
        element("small", clip(route_text(row.candidate, graph), ROUTE_LENGTH)),
    ]
    if row.note:
        parts.append(element("small", clip(row.note, 300)))
    if row.broken:
        parts.append(element("small", f"✗ breaks {clip(row.broken, 300)}", class_="broken"))
    return parts


def _bar(row: PlanRow, scale: LinearScale) -> Markup:
    values = latency_parts(row.prediction)
    parts = []
    for part, low, high in stacked_parts(values):
        start, end = scale(min(low, scale.high)), scale(min(high, scale.high))
        if end > start:
            words = f"{LATENCY_PARTS[part]} {in_ms(values[part])}"
            parts.append(box(start, 1, end - start, _THICK, tooltip(words), class_=PART_CLASSES[part]))
    if row.prediction.latency_ms > scale.high * 1.001:
        points = f"{_BAR - 1:.0f},0 {_BAR + 9:.0f},{1 + _THICK / 2:.0f} {_BAR - 1:.0f},{_THICK + 2:.0f}"
        parts.append(element("polygon", tooltip("longer than drawn"), points=points, class_="other"))
    label = f"latency {in_ms(row.prediction.latency_ms)}"
    return element("div", picture(_BAR + 10, _THICK + 2, label, *parts))


def _accuracy(accuracy: MeasuredAccuracy | None) -> list[Markup]:
    if accuracy is None:
        return [element("small", "not measured")]
    if accuracy.agreement == 1 and accuracy.drop_bound == 0:
        return [Markup("1.000"), element("small", "loses nothing")]
    parts = [
        join([f"{accuracy.agreement:.3f}"]),
        element("small", f"{accuracy.low:.3f}–{accuracy.high:.3f}"),
        element("small", f"drop ≤ {accuracy.drop_bound:.3f}"),
    ]
    if accuracy.labelled:
        parts.append(element("small", f"labelled {accuracy.labelled[0]:.3f}, uncut {accuracy.labelled[1]:.3f}"))
    return parts
