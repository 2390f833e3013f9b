"""A pipeline's file made ready to run: functions are looked for beside it, paths in it are relative to it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tercet.documents import read_document
from tercet.models.store import Store
from tercet_cloud.dag.checking import first_problem
from tercet_cloud.dag.model_signatures import StoreSignatures
from tercet_cloud.dag.spec import Node, Pipeline


def read_checked(file: Path, store: Path, import_paths: Iterable[Path] = ()) -> Pipeline:
    """NotFoundError, or SpecError with the line of what is wrong.

    The folders that functions may lie in stay in this process's import path.
    """
    for folder in (file.parent, *import_paths):
        if (entry := str(folder.resolve())) not in sys.path:
            sys.path.append(entry)
    signatures = StoreSignatures(Store(store))
    folder = file.parent.resolve()
    checked = read_document(Pipeline, file, lambda read: first_problem(_placed(read, folder), signatures))
    return _placed(checked, folder)


def _placed(pipeline: Pipeline, folder: Path) -> Pipeline:
    if all(node.deployment is None for node in pipeline.nodes.values()):
        return pipeline
    nodes = {name: _placed_node(node, folder) for name, node in pipeline.nodes.items()}
    return pipeline.model_copy(update={"nodes": nodes})


def _placed_node(node: Node, folder: Path) -> Node:
    if node.deployment is None:
        return node
    return node.model_copy(update={"deployment": folder / node.deployment})
