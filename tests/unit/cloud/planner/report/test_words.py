"""What a finished plan says: table, sentences, JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from support.planner_cases import chain_graph
from tercet_cloud.planner.costs.candidate import Candidate, MeasuredAccuracy, Prediction
from tercet_cloud.planner.report.explain import explain_plan
from tercet_cloud.planner.report.plan_json import report_json
from tercet_cloud.planner.report.plan_report import PlanReport, PlanRow
from tercet_cloud.planner.report.route_text import route_text
from tercet_cloud.planner.report.text_table import print_plan

GRAPH = chain_graph(4)
ALL = frozenset(range(4))
NONE = frozenset[int]()
GOOD = MeasuredAccuracy("same top-1 label", 0.99, 0.96, 1.0, 0.01, 0.035, frames=160)
BAD = MeasuredAccuracy("same top-1 label", 0.90, 0.85, 0.94, 0.10, 0.15, frames=160)


def row(
    name: str,
    device: int,
    until: int,
    codecs: tuple[str, str],
    split: tuple[float, float, float, float, float],
    accuracy: MeasuredAccuracy | None = None,
    broken: str | None = None,
) -> PlanRow:
    prediction = Prediction(*split, 5000.0, 900.0, 40.0, 2e7, 0.0, max(split))
    candidate = Candidate(frozenset(range(device)), frozenset(range(until)), codecs)
    return PlanRow(name, candidate, prediction, sum(split), accuracy, broken)


CHOSEN = row("best", 1, 4, ("klt:5", "raw"), (10, 8, 3, 0, 0), GOOD)
RUNNER_UP = row("runner-up", 2, 4, ("klt:5", "raw"), (13, 5.9, 2.5, 0, 0), GOOD)
ALONE = row("all-device", 4, 4, ("raw", "raw"), (60, 0, 0, 0, 0))
CLOUD = row("all-cloud jpeg:85", 0, 0, ("jpeg:85", "jpeg:85"), (1, 20, 0, 9, 2), BAD, "accuracy drop up to 0.150")
INEXACT = row("", 1, 4, ("int4", "raw"), (10, 5, 3, 0, 0), BAD, "accuracy drop up to 0.150, allowed 0.05")


@pytest.mark.parametrize(
    ("device", "until", "codecs", "expected"),
    [
        (4, 4, ("raw", "raw"), "device"),
        (0, 4, ("png", "raw"), "─input·png→ edge"),
        (2, 4, ("int8", "raw"), "device ─t1·int8→ edge"),
        (1, 3, ("int8", "raw"), "device ─t0·int8→ edge ─t2·raw→ cloud"),
        (1, 1, ("int8", "int8"), "device ─t0·int8→ (edge) → cloud"),
        (0, 0, ("jpeg:85", "raw"), "─input·jpeg:85→ edge recodes ─input·raw→ cloud"),
    ],
)
def test_a_route_names_cuts_and_codecs_and_leaves_out_idle_tiers(
    device: int, until: int, codecs: tuple[str, str], expected: str
) -> None:
    assert route_text(row("", device, until, codecs, (1, 1, 1, 1, 1)).candidate, GRAPH) == expected


def sentences(**changes: object) -> tuple[str, ...]:
    arguments: dict[str, object] = {
        "chosen": CHOSEN,
        "runner_up": RUNNER_UP,
        "considered": (INEXACT, RUNNER_UP, ALONE),
        "baselines": (ALONE, CLOUD),
        "graph": GRAPH,
        "objective": "latency, ms",
    }
    return explain_plan(**{**arguments, **changes})  # type: ignore[arg-type]


def test_the_runner_up_lost_by_what_it_costs_more_than_it_saves() -> None:
    (text,) = [line for line in sentences() if line.startswith("Runner-up")]
    assert text == (
        "Runner-up: device ─t1·klt:5→ edge would save 2.10 ms on the device–edge link and 0.500 ms on the edge, "
        "but costs 3.00 ms more on the device: 0.400 ms more in all."
    )


def test_what_would_be_quicker_but_breaks_a_constraint_is_named_with_it() -> None:
    (text,) = [line for line in sentences() if "would be better" in line]
    assert "int4" in text
    assert "3.00 ms less in all" in text
    assert "accuracy drop up to 0.150, allowed 0.05" in text


def test_the_gain_is_over_the_best_baseline_that_keeps_the_constraints() -> None:
    (text,) = [line for line in sentences() if "best other" in line]
    assert "all-device, has 2.86 × its latency" in text
    assert "(1 of 2 break a constraint)" in text


def test_another_objective_is_explained_in_its_own_unit() -> None:
    energy = [replace(item, value=item.prediction.device_ms * 3) for item in (CHOSEN, RUNNER_UP)]
    lines = sentences(chosen=energy[0], runner_up=energy[1], considered=(energy[1],), objective="energy, mJ")
    (text,) = [line for line in lines if line.startswith("Runner-up")]
    assert text.endswith("9 mJ more by the objective (energy), 0.400 ms more latency.")


def make_report() -> PlanReport:
    return PlanReport(
        model="chain",
        circumstances=("device: this machine × 6 (stated)", "links are stated"),
        objective="latency, ms",
        chosen=CHOSEN,
        baselines=(ALONE, CLOUD),
        considered=(INEXACT, RUNNER_UP, ALONE),
        curve=(),
        pareto=(CHOSEN,),
        map_plans=(),
        map_cells=(),
        explanation=sentences(),
        graph=GRAPH,
        operations=(),
        tensor_bytes={},
        solve_ms=12.0,
    )


def shown(*, explain: bool) -> str:
    console = Console(width=80, file=StringIO())
    print_plan(make_report(), console, explain=explain)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_table_shows_the_chosen_plan_beside_the_baselines_with_the_split() -> None:
    text = shown(explain=False)
    chosen = next(line for line in text.splitlines() if "▶ best" in line)
    for cell in ("device ─t0·klt:5→ edge", "21.0", "10.0", "8.0", "3.0", "0.990", "0.035"):
        assert cell in chosen
    assert "✗ all-cloud jpeg:85: accuracy drop up to 0.150" in text
    assert "device: this machine × 6 (stated)" in text


def test_columns_that_say_nothing_are_left_out() -> None:
    assert "money" not in shown(explain=False)


def test_a_narrow_screen_gets_the_columns_that_matter_most_and_is_told_so() -> None:
    console = Console(width=80, file=StringIO(), force_terminal=True, color_system=None)
    print_plan(make_report(), console, explain=False)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "Too narrow for" in text
    chosen = next(line for line in text.splitlines() if "▶ best" in line)
    assert "21.0" in chosen
    assert "…" not in chosen


def test_explanations_are_shown_when_asked_for() -> None:
    assert "Runner-up" not in shown(explain=False)
    assert "Runner-up" in shown(explain=True)


def test_json_names_what_crosses_and_adds_up() -> None:
    data = json.loads(report_json(make_report()))
    assert data["chosen"]["links"] == {"device_edge": {"tensors": ["t0"], "codec": "klt:5"}}
    assert data["chosen"]["operations"] == {"device": 1, "edge": 3, "cloud": 0}
    prediction = data["chosen"]["prediction"]
    parts = ("device_ms", "device_edge_ms", "edge_ms", "edge_cloud_ms", "cloud_ms")
    assert prediction["latency_ms"] == pytest.approx(sum(prediction[part] for part in parts))
    assert [item["broken"] is None for item in data["baselines"]] == [True, False]
