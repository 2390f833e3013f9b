"""The demo's bandwidth step and cascade as tables for people."""

from __future__ import annotations

from math import isnan

from rich.table import Table

from tercet_cloud.demo.cascade_figures import CascadeFigures
from tercet_cloud.demo.step_figures import StepFigures


def step_table(step: StepFigures) -> Table:
    table = Table(title="Bandwidth step, one adaptive device", title_justify="left")
    table.add_column("device–edge link")
    table.add_column("plan")
    for heading in ("in use after", "frames", "in deadline", "degraded", "lost", "p50 ms"):
        table.add_column(heading, justify="right")
    for phase in step.phases:
        unchanged = "" if phase is step.phases[0] else "no change"
        after = unchanged if phase.in_use_after_s is None else f"{phase.in_use_after_s:.2f} s"
        counts = (phase.frames, phase.in_deadline, phase.degraded, phase.lost)
        p50 = "–" if isnan(phase.p50_ms) else f"{phase.p50_ms:.0f}"
        table.add_row(phase.phase, phase.plan or "–", after, *map(str, counts), p50)
    fast, slow = step.expected_plans
    table.caption = f"{step.setting} Best by prediction: {fast} on the fast link, {slow} on the slow one."
    return table


def cascade_table(cascade: CascadeFigures) -> Table:
    table = Table(title="Cascade, one device: who answered", title_justify="left")
    table.add_column("tier")
    table.add_column("model")
    for heading in ("answered", "share", "p50 ms"):
        table.add_column(heading, justify="right")
    for stage in cascade.stages:
        p50 = "–" if stage.p50_ms is None else f"{stage.p50_ms:.0f}"
        table.add_row(stage.tier, stage.model, str(stage.answered), f"{stage.share:.0%}", p50)
    table.caption = (
        f"{cascade.never_large:.0%} of {cascade.answered} frames never reached the large model; "
        f"{cascade.agreement:.1%} of all answers are as it would have said. The input crosses by "
        f"{cascade.escalated_by}. {cascade.setting}"
    )
    return table


def audit_table(cascade: CascadeFigures) -> Table:
    table = Table(title="What the audit of the exits says", title_justify="left")
    table.add_column("exit")
    for heading in (
        "judged",
        "exited",
        "audited",
        "wrong",
        "certified ≤",
        "threshold\ncertified",
        "threshold\nlive",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for audit in cascade.audits:
        counts = (audit.judged, audit.exited, audit.audited, audit.wrong)
        thresholds = (_threshold(audit.certified_threshold), _threshold(audit.threshold))
        kept = "as certified" if audit.threshold == audit.certified_threshold else f"tightened {audit.tightened}×"
        table.add_row(f"{audit.tier} {audit.model}", *map(str, counts), f"{audit.alpha:.0%}", *thresholds, kept)
    table.caption = f"Exits {cascade.calibrated_with}."
    return table


def _threshold(value: float | None) -> str:
    return "closed" if value is None else f"{value:.3f}"
