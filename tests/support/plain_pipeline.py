"""A pipeline run node by node in this process, whatever its tiers: what any scheduler's answer must equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tercet.inference.whole_model import WholeModel
from tercet.models.store import Store
from tercet.steps.conditions import parse_condition
from tercet.steps.functions import load_function, signature_of
from tercet.steps.references import Reference, parse_reference, value_at
from tercet_cloud.dag.builtins import BUILTINS
from tercet_cloud.dag.checking import order
from tercet_cloud.dag.spec import Node, Pipeline


class PlainRuns:
    """Runs pipelines; models are opened once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._models: dict[str, WholeModel] = {}

    def run(self, pipeline: Pipeline, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """The outputs of nodes that ran, and the names of those that were skipped."""
        results: dict[str, Any] = {}
        skipped: set[str] = set()

        def lookup(reference: Reference) -> Any:
            value = inputs if reference.node is None else results[reference.node]
            return value_at(value, reference.path)

        for name in order(pipeline):
            node = pipeline.nodes[name]
            upstream = [parse_reference(text).node for text in node.needs.values()]
            if skipped.intersection(filter(None, upstream)) or (
                node.when is not None and not parse_condition(node.when).holds(lookup)
            ):
                skipped.add(name)
                continue
            arguments = {key: lookup(parse_reference(text)) for key, text in node.needs.items()}
            results[name] = self._result(node, arguments)
        outputs = {
            name: lookup(reference)
            for name, reference in pipeline.results().items()
            if reference.node not in skipped
        }
        return outputs, skipped

    def _result(self, node: Node, arguments: dict[str, Any]) -> Any:
        if node.map is None:
            return self._call(node, arguments)
        lists = [arguments[name] for name in node.map.over]
        return [
            self._call(node, arguments | dict(zip(node.map.over, items, strict=True)))
            for items in zip(*lists, strict=True)
        ]

    def _call(self, node: Node, arguments: dict[str, Any]) -> Any:
        if node.model is None:
            path = BUILTINS[node.builtin] if node.builtin is not None else node.call or ""
            context = {"store": str(self._store.root)} if "store" in signature_of(path).context else {}
            return load_function(path)(**arguments, **node.options, **context)
        if node.model not in self._models:
            card = self._store.card(node.model)
            self._models[node.model] = WholeModel(self._store.model_bytes(card))
        return self._models[node.model].run(arguments)
