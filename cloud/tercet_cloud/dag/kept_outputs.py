"""What a kept run gave, read from its store: no scheduler and no Ray are needed."""

from __future__ import annotations

from typing import Any

from tercet.errors import NotFoundError, TercetError
from tercet.steps.references import Reference, value_at
from tercet_cloud.dag.call import source_of
from tercet_cloud.dag.outcomes import WHOLE, NodeState
from tercet_cloud.dag.records import NodeRecord
from tercet_cloud.dag.run_store import RunStore
from tercet_cloud.dag.step_runner import from_bytes


def kept_outputs(store: RunStore, run: str) -> tuple[dict[str, Any], dict[str, TercetError]]:
    """By name, as `PipelineSession.read_outputs` gives them, those of nodes that are not done left out.

    Values are unpickled: what their functions defined must be importable here. NotFoundError if there is no such
    run.
    """
    record, found, missing = store.record(run), dict[str, Any](), dict[str, TercetError]()
    for name, reference in store.pipeline(run).results().items():
        node = None if reference.node is None else record.node(reference.node)
        if node is not None and node.state is not NodeState.DONE:
            continue
        try:
            found[name] = value_at(_result(store, run, reference, node), reference.inside)
        except TercetError as error:
            missing[name] = error
    return found, missing


def _result(store: RunStore, run: str, reference: Reference, node: NodeRecord | None) -> Any:
    source = source_of(reference)
    if node is None or node.items is None:
        return _value(store, run, source, WHOLE)
    return [_value(store, run, source, item) for item in store.item_numbers(run, source)]


def _value(store: RunStore, run: str, source: str, item: int) -> Any:
    try:
        return from_bytes(store.value(run, source, item))
    except ImportError as error:
        raise NotFoundError(f"what {source} of run {run} gave cannot be read here: {error}") from error
