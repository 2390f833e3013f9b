"""The pipelines that Tercet ships, as tests run them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from tercet.documents import parse_document
from tercet.models.store import Store
from tercet_cloud.dag.checking import read_pipeline
from tercet_cloud.dag.model_signatures import StoreSignatures
from tercet_cloud.dag.spec import Pipeline


def shipped_pipeline(name: str, store: Store, **options: dict[str, Any]) -> Pipeline:
    """`pipelines/NAME.yaml`, checked against the models of a store; further options of nodes by their names."""
    path = Path(str(resources.files("tercet_cloud.pipelines").joinpath(f"{name}.yaml")))
    signatures = StoreSignatures(store)
    data = read_pipeline(path, signatures).model_dump(mode="json", exclude_none=True)
    for node, more in options.items():
        data["nodes"][node]["options"] = data["nodes"][node].get("options", {}) | more
    return parse_document(Pipeline, data, str(path))
