"""The pipelines of the bench, seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tercet_cloud.dag.checking import order
from tercet_cloud.dag.spec import Pipeline

_LAYER_NODES = (2, 12)
_MOST_NEEDS = 3


def layered(name: str, nodes: int, call: Callable[..., Any], seed: int) -> Pipeline:
    """Layers of 2 to 12 nodes; each needs one to three of the layer before."""
    generator = random.Random(seed)
    made: dict[str, dict[str, Any]] = {}
    before: list[str] = []
    while len(made) < nodes:
        layer = []
        for _ in range(min(generator.randint(*_LAYER_NODES), nodes - len(made))):
            needs = generator.sample(before, min(len(before), generator.randint(1, _MOST_NEEDS)))
            node = f"n{len(made)}"
            made[node] = {"call": call, "needs": {f"a{number}": other for number, other in enumerate(needs)}}
            layer.append(node)
        before = layer
    return Pipeline(name=name, durable=False).with_nodes(made)


def chain(name: str, nodes: int, call: Callable[..., Any], **fields: Any) -> Pipeline:
    """One node after another."""
    made = {
        f"n{number}": {"call": call, "needs": {"a": f"n{number - 1}"} if number else {}} for number in range(nodes)
    }
    return Pipeline(name=name, **{"durable": False, **fields}).with_nodes(made)


def wide(name: str, nodes: int, call: Callable[..., Any], **fields: Any) -> Pipeline:
    """All at once."""
    made = {f"n{number}": {"call": call} for number in range(nodes)}
    return Pipeline(name=name, **{"durable": False, **fields}).with_nodes(made)


def diamond(name: str, call: Callable[..., Any]) -> Pipeline:
    """One, four beside each other, one: a pipeline as people write them."""
    made: dict[str, Mapping[str, Any]] = {"first": {"call": call}}
    made.update({f"part{number}": {"call": call, "needs": {"a": "first"}} for number in range(4)})
    made["last"] = {"call": call, "needs": {f"a{number}": f"part{number}" for number in range(4)}}
    return Pipeline(name=name, durable=False).with_nodes(made)


def least_s(pipeline: Pipeline, times_s: Mapping[str, float], cores: int) -> float:
    """No schedule is quicker: the longest way through the graph, or all work divided by the cores."""
    until: dict[str, float] = {}
    for name in order(pipeline):
        began_s = max((until[before] for before in pipeline.nodes[name].upstream()), default=0.0)
        until[name] = began_s + times_s[name]
    return max(max(until.values()), sum(times_s.values()) / cores)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -(-int(share * 1000) * len(ranked) // 1000) - 1))]
