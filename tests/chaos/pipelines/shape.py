"""A pipeline drawn by chance, and what it must give: layers of mapped nodes, sums, a node that stumbles, a photo.

    first ─ each-1 ─ … ─ each-N ─ whole ─ stumbling ─┐
      └─ sum-1      └─ sum-N-1 … ────────────────────┤ all
    photo ─ picture ─ large ─ lines ─ … ─ turned ────┘

Results are whole numbers, computed here by plain Python; the photo's are in `photo_branch`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.pipelines.photo_branch import PhotoBranch
from tercet.documents import write_document
from tercet_cloud.dag.spec import Pipeline

_STEPS = "chaos.pipelines.steps:"
# What networks may differ by on one machine; a result of another photo differs by far more.
_ALIKE = 1e-4


@dataclass(frozen=True)
class Layer:
    """A mapped node: x → x·factor + plus. `summed`: its list is also summed by a node of its own."""

    factor: int
    plus: int
    pace_s: float
    at_once: int | None
    summed: bool


@dataclass(frozen=True)
class Shape:
    """One pipeline."""

    name: str
    start: int
    items: int
    layers: tuple[Layer, ...]
    failures: int
    photo: PhotoBranch

    @classmethod
    def drawn(cls, seed: int) -> Shape:
        dice = random.Random(seed)
        items = dice.randint(4, 9)
        depth = dice.randint(1, 3)
        # About four seconds on two workers; every third layer is of calls that are short enough to be given ahead.
        pace_s = 8.0 / (items * depth)
        layers = tuple(
            Layer(
                factor=dice.randint(2, 9),
                plus=dice.randint(0, 99),
                pace_s=pace_s * dice.uniform(0.7, 1.3) if depth == 1 or dice.random() < 2 / 3 else 0.02,
                at_once=dice.choice([None, 2]),
                summed=dice.random() < 0.5,
            )
            for _ in range(depth)
        )
        return cls(f"shape-{seed}", dice.randint(0, 50), items, layers, dice.randint(1, 2), PhotoBranch.drawn(dice))

    def write(self, path: Path) -> Path:
        """The pipeline as a file."""
        write_document(self.pipeline(), path)
        return path

    def pipeline(self) -> Pipeline:
        traced = {"trace": "input.trace"}
        nodes: dict[str, Any] = {
            "first": {
                "call": f"{_STEPS}count",
                "needs": traced,
                "options": {"start": self.start, "items": self.items},
            }
        }
        parts, last = {}, "first"
        for number, layer in enumerate(self.layers, 1):
            name = f"each-{number}"
            nodes[name] = {
                "call": f"{_STEPS}scale",
                "needs": {"x": last, **traced},
                "options": {"factor": layer.factor, "plus": layer.plus, "pace_s": layer.pace_s},
                "map": "x",
                "max_concurrency": layer.at_once,
            }
            last = name
            if layer.summed:
                nodes[f"sum-{number}"] = {
                    "call": f"{_STEPS}total",
                    "needs": {"parts": name, **traced},
                    "options": {"pace_s": 0.2},
                }
                parts[f"sum_{number}"] = f"sum-{number}"
        nodes["whole"] = {
            "call": f"{_STEPS}total",
            "needs": {"parts": last, **traced},
            "options": {"pace_s": 0.1},
        }
        nodes["stumbling"] = {
            "call": f"{_STEPS}stumble",
            "needs": {"x": "whole", **traced},
            "options": {"failures": self.failures},
            "retries": self.failures,
        }
        nodes["never"] = {
            "call": f"{_STEPS}total",
            "needs": {"parts": "first", **traced},
            "options": {"pace_s": 0.1},
            "when": "len(first) > 1000",
        }
        parts |= {"stumbling": "stumbling", "turned": "turned"}
        nodes |= self.photo.nodes()
        nodes["all"] = {"builtin": "join", "needs": parts}
        return Pipeline(
            name=self.name, inputs={"trace": "text", "photo": "bytes"}, nodes=nodes, outputs={"all": "all"}
        )

    def executions(self) -> dict[str, int]:
        """How often each step that leaves a trace runs undisturbed, by node or NODE/ITEM."""
        found = {"first": 1, "whole": 1, "stumbling": self.failures + 1, **self.photo.executions}
        for number, layer in enumerate(self.layers, 1):
            found |= {f"each-{number}/{item}": 1 for item in range(self.items)}
            if layer.summed:
                found[f"sum-{number}"] = 1
        return found

    def expected(self, store: Path) -> dict[str, Any]:
        """What `all` must be, with a store that has the network."""
        values = list(range(self.start, self.start + self.items))
        found: dict[str, Any] = {}
        for number, layer in enumerate(self.layers, 1):
            values = [value * layer.factor + layer.plus for value in values]
            if layer.summed:
                found[f"sum_{number}"] = sum(values)
        return {**found, "stumbling": 2 * sum(values) + 1, "turned": self.photo.expected(store)}


def alike(result: Any, expected: dict[str, Any]) -> bool:
    """Whether a run gave what it must."""
    if not isinstance(result, dict) or result.keys() != expected.keys():
        return False
    turned, exact = result["turned"], {name: value for name, value in expected.items() if name != "turned"}
    return (
        {name: result[name] for name in exact} == exact
        and len(turned) == len(expected["turned"])
        and all(abs(one - other) < _ALIKE for one, other in zip(turned, expected["turned"], strict=True))
    )
