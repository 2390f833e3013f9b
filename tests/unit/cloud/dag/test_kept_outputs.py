"""What a run gave is read from its store alone."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tercet.errors import TercetError
from tercet_cloud.dag.kept_outputs import kept_outputs
from tercet_cloud.dag.outcomes import WHOLE, NodeState
from tercet_cloud.dag.run_store import Batch, RunStore, state_url
from tercet_cloud.dag.spec import Pipeline

PIPELINE = (
    Pipeline(name="p", inputs={"x": "number"}, outputs={"each": "each", "part": "one.a[1]", "x": "input.x"})
    .node("one", call="builtins:dict")
    .node("each", call="builtins:abs", needs={"x": "one"}, map="x")
)
DONE = {"one": NodeState.DONE, "each": NodeState.DONE}


def outputs(
    folder: Path,
    states: Mapping[str, NodeState],
    values: Mapping[tuple[str, int], Any],
    items: Sequence[int] = (0, 1),
) -> tuple[dict[str, Any], dict[str, TercetError]]:
    store = RunStore(state_url(folder), folder / "values")
    row = {
        "run": "r", "pipeline": "p", "spec": PIPELINE.model_dump_json(), "state": "done", "submitted_s": 1.0,
    }  # fmt: skip
    store.add(row, [value_row("input.x", WHOLE, 5)], "me")
    nodes = [node_row(name, state, len(items) if name == "each" else None) for name, state in states.items()]
    rows = [value_row(source, item, value) for (source, item), value in values.items()]
    store.write(Batch(nodes=nodes, values=rows), "me")
    try:
        return kept_outputs(store, "r")
    finally:
        store.close()


def value_row(source: str, item: int, value: Any) -> dict[str, Any]:
    data = value if isinstance(value, bytes) else pickle.dumps(value)
    return {"run": "r", "source": source, "item": item, "data": data, "address": "", "length": None}


def node_row(node: str, state: NodeState, items: int | None) -> dict[str, Any]:
    return {
        "run": "r", "node": node, "state": state.value, "attempts": 1, "started_s": 1.0, "ended_s": 2.0,
        "reason": "", "items": items, "troubles": "[]", "log": "", "busy_s": 0.5,
    }  # fmt: skip


def test_lists_parts_and_inputs_are_given_as_the_pipeline_names_them(tmp_path: Path) -> None:
    values = {("one", WHOLE): {"a": [7, 8]}, ("each", 1): "b", ("each", 0): "a"}
    assert outputs(tmp_path, DONE, values) == ({"each": ["a", "b"], "part": 8, "x": 5}, {})


def test_an_empty_list_is_one(tmp_path: Path) -> None:
    assert outputs(tmp_path, DONE, {("one", WHOLE): {"a": [7, 8]}}, items=())[0]["each"] == []


def test_what_is_not_done_is_left_out(tmp_path: Path) -> None:
    states = {**DONE, "each": NodeState.FAILED}
    assert outputs(tmp_path, states, {("one", WHOLE): {"a": [7, 8]}}) == ({"part": 8, "x": 5}, {})


def test_a_value_whose_class_is_not_here_is_named_and_costs_no_other(tmp_path: Path) -> None:
    values = {("one", WHOLE): b"cnot_there\nThing\n.", ("each", 0): "a", ("each", 1): "b"}
    found, missing = outputs(tmp_path, DONE, values)
    assert found == {"each": ["a", "b"], "x": 5}
    assert {name: str(error) for name, error in missing.items()} == {
        "part": "what one of run r gave cannot be read here: No module named 'not_there'"
    }
