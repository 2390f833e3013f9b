"""Metrics in Prometheus' text format."""

from __future__ import annotations

import urllib.request

import pytest

from tercet.errors import SpecError
from tercet.health import Health, HealthServer
from tercet.metrics import CONTENT_TYPE, Metric, render


def test_counters_and_gauges_with_labels_are_written_as_prometheus_reads_them() -> None:
    metrics = [
        Metric("tercet_frames_total", "counter", "Frames.", lambda: 12),
        Metric("tercet_link_mbps", "gauge", "Of a link.", lambda: {"a": 1.5, 'b"\n': 2.0}, "link"),
    ]
    assert render(metrics, {"node": "cam-1"}) == (
        "# HELP tercet_frames_total Frames.\n"
        "# TYPE tercet_frames_total counter\n"
        'tercet_frames_total{node="cam-1"} 12\n'
        "# HELP tercet_link_mbps Of a link.\n"
        "# TYPE tercet_link_mbps gauge\n"
        'tercet_link_mbps{node="cam-1",link="a"} 1.5\n'
        'tercet_link_mbps{node="cam-1",link="b\\"\\n"} 2\n'
    )


def test_a_broken_reading_or_none_number_hides_no_other() -> None:
    def broken() -> float:
        raise RuntimeError("gone")

    metrics = [
        Metric("tercet_broken", "gauge", "x", broken),
        Metric("tercet_nan", "gauge", "x", lambda: float("nan")),
        Metric("tercet_fine", "gauge", "x", lambda: 3.25),
    ]
    text = render(metrics, {})
    assert text.endswith("tercet_fine 3.25\n")
    assert "tercet_broken" not in text
    assert "\ntercet_nan " not in text


def test_metrics_are_served_beside_health() -> None:
    health = Health("edge", "edge-1")
    health.metrics = [Metric("tercet_fine", "gauge", "x", lambda: 1)]
    with (
        HealthServer(health, "127.0.0.1", 0) as server,
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as response,
    ):
        assert response.headers["Content-Type"] == CONTENT_TYPE
        assert 'tercet_fine{tier="edge",node="edge-1"} 1' in response.read().decode()


@pytest.mark.parametrize(
    ("name", "kind", "label"),
    [
        ("frames_total", "counter", ""),
        ("tercet_frames", "counter", ""),
        ("tercet_x_total", "gauge", ""),
        ("tercet_x", "gauge", "A-b"),
    ],
)
def test_names_that_would_confuse_are_refused(name: str, kind: str, label: str) -> None:
    with pytest.raises(SpecError):
        Metric(name, kind, "x", lambda: 0, label)  # type: ignore[arg-type]
