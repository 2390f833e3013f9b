"""Why a plan won, in sentences; every figure is a difference of two predictions."""

from __future__ import annotations

from collections.abc import Sequence

from tercet_cloud.planner.costs.candidate import Prediction
from tercet_cloud.planner.cuts.cut_graph import CutGraph
from tercet_cloud.planner.report.plan_report import PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.wording import in_ms, latency_parts

# Less than this is not worth a word.
_NOTICED_MS = 0.05
_MOST_OUTRIGHT = 3

# In the order of `latency_parts`.
_PLACES = ("on the device", "on the device–edge link", "on the edge", "on the edge–cloud link", "in the cloud")


def explain_plan(
    chosen: PlanRow,
    runner_up: PlanRow | None,
    considered: Sequence[PlanRow],
    baselines: Sequence[PlanRow],
    graph: CutGraph,
    objective: str,
) -> tuple[str, ...]:
    """Sentences, the most important first.

    Args:
        considered: everything else that was priced, best value first.
        objective: in words with its unit, as the report has it ("latency, ms").
    """
    lines = [_chosen_text(chosen, baselines, graph)]
    lines += _spread_text(chosen)
    lines += _gain_text(chosen, baselines, objective)
    if runner_up is not None:
        lines.append(f"Runner-up: {_lost_text(runner_up, chosen, graph, objective)}")
    elsewhere = next(
        (
            row
            for row in considered
            if row.broken is None
            and row is not runner_up
            and (row.candidate.device, row.candidate.until_cloud) not in {_cuts(chosen), _cuts(runner_up or chosen)}
            and row.value >= chosen.value
        ),
        None,
    )
    if elsewhere is not None:
        lines.append(f"Next best cut elsewhere: {_lost_text(elsewhere, chosen, graph, objective)}")
    refused = [row for row in considered if row.broken is not None and row.value < chosen.value]
    lines += [_refused_text(row, chosen, graph, objective) for row in refused[:_MOST_OUTRIGHT]]
    if len(refused) > _MOST_OUTRIGHT:
        lines.append(f"{len(refused) - _MOST_OUTRIGHT} more would have been better and break a constraint.")
    return tuple(lines)


def differences_ms(row: Prediction, chosen: Prediction) -> list[tuple[str, float]]:
    """By place, how many ms more `row` takes there; places that differ hardly are left out."""
    pairs = zip(latency_parts(row), latency_parts(chosen), strict=True)
    found = [(words, theirs - ours) for words, (theirs, ours) in zip(_PLACES, pairs, strict=True)]
    return [(words, more) for words, more in found if abs(more) >= _NOTICED_MS]


def _chosen_text(chosen: PlanRow, baselines: Sequence[PlanRow], graph: CutGraph) -> str:
    same = [row.name for row in baselines if row.candidate == chosen.candidate]
    alike = f", the same as {_listed(same)}" if same else ""
    return f"Chosen: {route_text(chosen.candidate, graph)}, {in_ms(chosen.prediction.latency_ms)} a frame{alike}."


def _spread_text(chosen: PlanRow) -> list[str]:
    """Where the time goes, if it goes to more than one place."""
    parts = latency_parts(chosen.prediction)
    largest, words = max(zip(parts, _PLACES, strict=True))
    if sum(part > 0 for part in parts) < 2:
        return []
    return [f"The largest part of it, {in_ms(largest)} ({largest / sum(parts):.0%}), is spent {words}."]


def _gain_text(chosen: PlanRow, baselines: Sequence[PlanRow], objective: str) -> list[str]:
    others = [row for row in baselines if row.candidate != chosen.candidate]
    allowed = [row for row in others if row.broken is None]
    if not allowed or chosen.value <= 0:
        return []
    best = min(allowed, key=lambda row: row.value)
    ratio = best.value / chosen.value
    if ratio < 1.005:
        return [f"The baseline {best.name} is as good."]
    name = objective.partition(",")[0]
    broken = sum(row.broken is not None for row in others)
    but = f" ({broken} of {len(others)} break a constraint)" if broken else ""
    words = f"The best other plan of the table that keeps all constraints, {best.name}"
    return [f"{words}, has {ratio:.2f} × its {name}{but}."]


def _lost_text(row: PlanRow, chosen: PlanRow, graph: CutGraph, objective: str) -> str:
    """ "block14 klt:5 would save 2.1 ms on the link but costs 3.0 ms more on the device: 0.9 ms more in all." """
    found = differences_ms(row.prediction, chosen.prediction)
    saved = _listed([f"{in_ms(-more)} {words}" for words, more in found if more < 0])
    lost = _listed([f"{in_ms(more)} more {words}" for words, more in found if more > 0])
    text = route_text(row.candidate, graph)
    match bool(saved), bool(lost):
        case True, True:
            text += f" would save {saved}, but costs {lost}"
        case True, False:
            text += f" would save {saved}"
        case False, True:
            text += f" costs {lost}"
        case _:
            text += " takes the same time"
    return f"{text}: {_in_all(row, chosen, objective)}.{_unmeasured(row)}"


def _in_all(row: PlanRow, chosen: PlanRow, objective: str) -> str:
    name, _, unit = objective.partition(", ")
    more = row.value - chosen.value
    direction = "more" if more >= 0 else "less"
    if name == "latency":
        return f"{in_ms(abs(more))} {direction} in all"
    later = row.prediction.latency_ms - chosen.prediction.latency_ms
    return (
        f"{abs(more):.3g} {unit} {direction} by the objective ({name}), "
        f"{in_ms(abs(later))} {'more' if later >= 0 else 'less'} latency"
    )


def _refused_text(row: PlanRow, chosen: PlanRow, graph: CutGraph, objective: str) -> str:
    return (
        f"{route_text(row.candidate, graph)} would be better ({_in_all(row, chosen, objective)}), "
        f"but: {row.broken}{_measured(row)}."
    )


def _measured(row: PlanRow) -> str:
    if row.accuracy is None:
        return ""
    return f" (agreement {row.accuracy.agreement:.3f} on {row.accuracy.frames} frames)"


def _unmeasured(row: PlanRow) -> str:
    return (
        ""
        if row.accuracy is not None or set(row.candidate.codecs) == {"raw"}
        else " Its accuracy was not measured."
    )


def _cuts(row: PlanRow) -> tuple[frozenset[int], frozenset[int]]:
    return row.candidate.device, row.candidate.until_cloud


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
