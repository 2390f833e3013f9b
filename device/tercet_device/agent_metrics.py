"""What a device agent shows of its choices and links at /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable

from tercet.adaptive.link_estimate import LinkEstimate
from tercet.metrics import Metric
from tercet_device.agent import DeviceAgent
from tercet_device.results import Results


def agent_metrics(agent: DeviceAgent, results: Results) -> list[Metric]:
    def by_link(read: Callable[[LinkEstimate], float]) -> Callable[[], dict[str, float]]:
        return lambda: {
            str(link): read(link.tracker.first_link.estimate(time.monotonic()))
            for link in agent.links
            if link.online
        }

    def probes() -> dict[str, float]:
        return {str(link): link.probes for link in agent.links}

    return [
        Metric("tercet_frames_sent_total", "counter", "Frames that were started.", lambda: results.sent),
        Metric("tercet_frames_answered_total", "counter", "Frames with an answer.", lambda: results.answered),
        Metric("tercet_frames_degraded_total", "counter", "Answers by another tier.", lambda: results.degraded),
        Metric("tercet_frames_lost_total", "counter", "Frames nobody answered.", lambda: results.lost),
        Metric("tercet_plan_switches_total", "counter", "Plans left for others.", lambda: agent.switches),
        Metric("tercet_plan_in_use", "gauge", "1 for the plan that frames take now.", agent.plans_in_use, "plan"),
        Metric("tercet_renewals_total", "counter", "Predictions renewed as they were off.", lambda: agent.renewals),
        Metric("tercet_replans_total", "counter", "Plan tables asked for and taken.", lambda: agent.replans),
        Metric(
            "tercet_replan_failures_total", "counter", "Tables not got or no use.", lambda: agent.replan_failures
        ),
        Metric("tercet_prediction_ratio", "gauge", "Actual over predicted time.", lambda: agent.watch.ratio),
        Metric("tercet_link_goodput_mbps", "gauge", "Of the link.", by_link(lambda e: e.goodput_mbps), "link"),
        Metric("tercet_link_round_trip_ms", "gauge", "Of the link.", by_link(lambda e: e.round_trip_ms), "link"),
        Metric("tercet_link_loss", "gauge", "Frames unanswered, of late.", by_link(lambda e: e.loss), "link"),
        Metric("tercet_link_estimate_age_seconds", "gauge", "Since a frame.", by_link(lambda e: e.age_s), "link"),
        Metric("tercet_link_probes_total", "counter", "Probes sent.", probes, "link"),
    ]
