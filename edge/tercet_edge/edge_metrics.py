"""What an edge shows of its connections and its computing at /metrics."""

from __future__ import annotations

from tercet.metrics import Metric
from tercet_edge.device_port import DevicePort
from tercet_edge.micro_batch import MicroBatcher
from tercet_edge.uplink import Uplink


def edge_metrics(port: DevicePort, batcher: MicroBatcher, uplink: Uplink | None) -> list[Metric]:
    found = [
        Metric("tercet_frames_answered_total", "counter", "Frames with an answer.", lambda: port.answered),
        Metric("tercet_frames_refused_total", "counter", "Frames that were refused.", lambda: port.refused),
        Metric("tercet_broker_connected", "gauge", "1 while there is a connection.", lambda: float(port.online)),
        Metric("tercet_runs_failed_total", "counter", "Runs that could not be made.", lambda: batcher.crashes),
    ]
    if uplink is not None:
        found += [
            Metric("tercet_uplink_used", "gauge", "0 while a cloud is left alone.", uplink.in_use, "cloud"),
            Metric("tercet_uplink_retries_total", "counter", "Calls tried twice.", lambda: uplink.retried),
            Metric("tercet_uplink_renewals_total", "counter", "Stuck connections.", lambda: uplink.renewals),
        ]
    return found
