"""What a process counts and measures, in the text format that Prometheus scrapes from /metrics.

Written here in a few lines and not by the client library, because the device install has no room for another
package and nodes need nothing but to show numbers that they hold anyway. Format: prometheus.io, "Exposition
formats", 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from tercet.errors import SpecError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"^tercet_[a-z0-9_]+$")
_LABEL = re.compile(r"^[a-z_][a-z0-9_]*$")

# A number, or numbers by label value where a metric has a label.
Reading = float | Mapping[str, float]


@dataclass(frozen=True)
class Metric:
    """`read` is called from another thread at every scrape: it only looks. `label` says what a mapping is by."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[], Reading]
    label: str = ""

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or (self.label and not _LABEL.match(self.label)):
            raise SpecError(f"metric {self.name!r} by {self.label!r}: names are tercet_… in lower case")
        if (self.kind == "counter") != self.name.endswith("_total"):
            raise SpecError(f"metric {self.name!r}: counters, and only they, end in _total")


def render(metrics: list[Metric], common: Mapping[str, str]) -> str:
    """All metrics as text; `common` are labels that all carry. A reading that fails or is no number is left out."""
    lines: list[str] = []
    for metric in metrics:
        try:
            reading = metric.read()
        except Exception:  # one broken reading must not hide the others
            continue
        values = reading if isinstance(reading, Mapping) else {"": reading}
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for key, value in values.items():
            labels = {**common, **({metric.label: key} if metric.label else {})}
            if isfinite(value):
                lines.append(f"{metric.name}{_labels(labels)} {value:.10g}")
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
