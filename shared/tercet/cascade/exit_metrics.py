"""What a node shows of the exits it watches at /metrics; by "CASCADE/STAGE"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tercet.cascade.open_cascade import OpenCascade
from tercet.metrics import Metric


def exit_metrics(cascades: Sequence[OpenCascade]) -> list[Metric]:
    """None if no cascade runs here. A closed exit has no threshold to show, and one not audited yet no risk."""

    def each(key: str) -> Callable[[], dict[str, float]]:
        def read() -> dict[str, float]:
            return {
                f"{cascade.document.name}/{status['stage']}": float(value)
                for cascade in cascades
                for status in cascade.exits_status()
                if isinstance(value := status[key], int | float)
            }

        return read

    if not cascades:
        return []
    return [
        Metric("tercet_exit_threshold", "gauge", "Score that answers must reach now.", each("threshold"), "exit"),
        Metric("tercet_exit_certified_threshold", "gauge", "As certified.", each("certified_threshold"), "exit"),
        Metric("tercet_exit_risk", "gauge", "Wrong of the audited, of late.", each("observed_risk"), "exit"),
        Metric("tercet_exit_audit_share", "gauge", "Confident frames audited now.", each("audited_share"), "exit"),
        Metric("tercet_exit_judged_total", "counter", "Frames that came to the stage.", each("judged"), "exit"),
        Metric("tercet_exit_exited_total", "counter", "Frames answered by it.", each("exited"), "exit"),
        Metric("tercet_exit_audited_total", "counter", "Frames escalated to check.", each("audited"), "exit"),
        Metric("tercet_exit_unanswered_total", "counter", "Escalated in vain.", each("unanswered"), "exit"),
        Metric("tercet_exit_tightened_total", "counter", "Times the exit was closed.", each("tightened"), "exit"),
        Metric("tercet_exit_relaxed_total", "counter", "Times it opened again.", each("relaxed"), "exit"),
    ]
