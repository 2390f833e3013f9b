"""The pipelines that Tercet ships, as tests run them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from tercet.models.store import Store
from tercet_cloud.dag.checking import read_pipeline
from tercet_cloud.dag.model_signatures import StoreSignatures
from tercet_cloud.dag.spec import Pipeline


def shipped_pipeline(name: str, store: Store) -> Pipeline:
    """`pipelines/NAME.yaml`, checked against the models of a store."""
    return read_pipeline(shipped_file(f"{name}.yaml"), StoreSignatures(store))


def shipped_file(name: str) -> Path:
    return Path(str(resources.files("tercet_cloud.pipelines").joinpath(name)))
