"""What a kept run gave, read from its store: no scheduler and no Ray are needed."""

from __future__ import annotations

from typing import Any

from tercet.errors import NotFoundError
from tercet.steps.references import value_at
from tercet_cloud.dag.outcomes import WHOLE, NodeState
from tercet_cloud.dag.run_store import RunStore
from tercet_cloud.dag.step_runner import from_bytes


def kept_outputs(store: RunStore, run: str) -> dict[str, Any]:
    """By name, as `PipelineSession.outputs` gives them; what is not there is left out. NotFoundError.

    Values are unpickled: what their functions defined must be importable here.
    """
    record, found = store.record(run), {}
    for name, reference in store.pipeline(run).results().items():
        node = None if reference.node is None else record.node(reference.node)
        if node is None:
            source, path = f"input.{reference.path[0]}", reference.path[1:]
            found[name] = value_at(_value(store, run, source, WHOLE), path)
        elif node.state is NodeState.DONE:
            found[name] = value_at(_result(store, run, node.node, items=node.items is not None), reference.path)
    return found


def _result(store: RunStore, run: str, node: str, *, items: bool) -> Any:
    if not items:
        return _value(store, run, node, WHOLE)
    return [_value(store, run, node, item) for item in store.item_numbers(run, node)]


def _value(store: RunStore, run: str, source: str, item: int) -> Any:
    try:
        return from_bytes(store.value(run, source, item))
    except ImportError as error:
        raise NotFoundError(f"what {source} of run {run} gave cannot be read here: {error}") from error
