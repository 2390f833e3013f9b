"""The pipelines that Tercet ships, as tests run them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from tercet.documents import parse_document
from tercet.models.store import Store
from tercet_cloud.dag.checking import read_pipeline
from tercet_cloud.dag.model_signatures import StoreSignatures
from tercet_cloud.dag.spec import Pipeline


def shipped_pipeline(name: str, store: Store) -> Pipeline:
    """`pipelines/NAME.yaml`, checked against the models of a store."""
    return read_pipeline(shipped_file(f"{name}.yaml"), StoreSignatures(store))


def shipped_file(name: str) -> Path:
    return Path(str(resources.files("tercet_cloud.pipelines").joinpath(name)))


def all_in_the_cloud(pipeline: Pipeline) -> Pipeline:
    """The same with every node in the cloud."""
    data = pipeline.model_dump(mode="json", exclude_none=True)
    for node in data["nodes"].values():
        node["tier"] = "cloud"
        node.pop("at", None)
    return parse_document(Pipeline, data, pipeline.name)
