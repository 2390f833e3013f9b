"""Exits at /metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.dictated import SURE, UNSURE, dictated_cascade
from tercet.cascade.document import AuditTerms
from tercet.cascade.exit_metrics import exit_metrics
from tercet.cascade.open_cascade import OpenCascade
from tercet.cut_model import open_deployments
from tercet.metrics import render
from tercet.tiers import Tier


def test_exits_are_counted_and_a_closed_one_shows_no_threshold(tmp_path: Path) -> None:
    made = dictated_cascade(tmp_path, audit=AuditTerms(share=1))
    models = open_deployments(made.deployments.values(), made.store)
    cascade = OpenCascade.open(made.cascade, made.store, models, Tier.DEVICE, "cam-1")
    metrics = exit_metrics([cascade])
    exit_ = cascade.stages[0].exit
    assert exit_
    assert 'tercet_exit_threshold{exit="dictated/0"} 0.9' in render(metrics, {})
    assert "tercet_exit_risk{" not in render(metrics, {})
    exit_.judge({"scores": np.array([[-UNSURE, UNSURE]])})
    for _ in range(20):
        exit_.learn(exit_.judge({"scores": np.array([[-SURE, SURE]])}), label=0)
    shown = render(metrics, {})
    assert "tercet_exit_threshold{" not in shown
    for line in ("certified_threshold", "judged_total", "audited_total", "tightened_total"):
        assert f'tercet_exit_{line}{{exit="dictated/0"}}' in shown
    assert 'tercet_exit_judged_total{exit="dictated/0"} 21' in shown
    assert 'tercet_exit_tightened_total{exit="dictated/0"} 1' in shown


def test_without_a_cascade_there_is_nothing_to_show() -> None:
    assert exit_metrics([]) == []
