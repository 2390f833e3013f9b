"""Cutting an ONNX model into segments: one self-contained ONNX file per stretch between two boundaries.

The chain of segments computes what the model does. The same stretch of the same model always gives the same bytes,
wherever else the model is cut, so segments can be shared between cuts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import onnx
from onnx import ModelProto, NodeProto, TypeProto, ValueInfoProto

from tercet.errors import SpecError
from tercet.models.manifest import Boundary, Manifest, Segment
from tercet.models.store import Store, sha256_of
from tercet_cloud.models.boundaries import Cut, boundary_of_tensors, end_of, require_nested, start_of
from tercet_cloud.models.graph import OnnxGraph

# Before version 4 of the format every initializer had to be an input as well.
_MIN_IR_VERSION = 4


def slice_model(graph: OnnxGraph, model_name: str, cuts: Sequence[Cut]) -> tuple[Manifest, list[bytes]]:
    """Cut a model.

    Args:
        model_name: the card's name.
        cuts: in data-flow order, strictly nested; none gives one segment that is the whole model.
    Returns:
        the manifest, and the ONNX file of each of its segments.
    Raises:
        SpecError: cuts not nested, or a crossing tensor of unknown rank or of a type that cannot cross.
    """
    require_nested(graph, cuts)
    places = [start_of(graph), *cuts, end_of(graph)]
    boundaries = tuple(
        Boundary(tensors=tuple(graph.types.spec(name) for name in place.tensors)) for place in places
    )
    files: list[bytes] = []
    segments: list[Segment] = []
    for here, after in itertools.pairwise(places):
        model = _segment(graph, here, after)
        files.append(model.SerializeToString(deterministic=True))
        _check_segment(files[-1], here, after)
        segments.append(
            Segment(
                sha256=sha256_of(files[-1]),
                size_bytes=len(files[-1]),
                inputs=tuple(item.name for item in model.graph.input),
                outputs=tuple(item.name for item in model.graph.output),
            )
        )
    manifest = Manifest(
        model=model_name, model_sha256=graph.sha256, boundaries=boundaries, segments=tuple(segments)
    )
    return manifest, files


def slice_into_store(store: Store, model_name: str, boundaries: Sequence[Sequence[str]]) -> Manifest:
    """Cut a model of the store at the named tensors; segments and manifest are in the store afterwards.

    Raises NotFoundError, IntegrityError, or SpecError if a boundary is not a cut.
    """
    graph = OnnxGraph(store.model_bytes(store.card(model_name)))
    cuts = [boundary_of_tensors(graph, names) for names in boundaries]
    manifest, files = slice_model(graph, model_name, cuts)
    for data in files:
        store.add_segment(data)
    store.add_manifest(manifest)
    return manifest


def _segment(graph: OnnxGraph, here: Cut, after: Cut) -> ModelProto:
    operations = [graph.operations[index] for index in sorted(after.before - here.before)]
    made = {name for operation in operations for name in operation.gives}
    read = {name for operation in operations for name in operation.reads}
    inputs = [name for name in here.tensors if name in read]
    outputs = [name for name in after.tensors if name in made or graph.is_constant(name)]
    constants = graph.constants(
        [*(name for operation in operations for name in operation.constants), *filter(graph.is_constant, outputs)]
    )
    nodes = [_bare(node) for node in (*constants.nodes, *(operation.node for operation in operations))]
    return onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "segment",
            [_value_info(name, graph.types.proto(name)) for name in inputs],
            [_value_info(name, graph.types.proto(name)) for name in outputs],
            initializer=constants.initializers,
            sparse_initializer=constants.sparse_initializers,
        ),
        opset_imports=graph.model.opset_import,
        functions=graph.functions(nodes),
        ir_version=max(graph.model.ir_version, _MIN_IR_VERSION),
    )


def _check_segment(onnx_bytes: bytes, here: Cut, after: Cut) -> None:
    try:
        onnx.checker.check_model(onnx_bytes)
    except onnx.checker.ValidationError as error:
        raise SpecError(
            f"the segment between {', '.join(here.tensors)} and {', '.join(after.tensors)} is not valid ONNX: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _bare(node: NodeProto) -> NodeProto:
    """A copy without what does not compute: doc strings and exporters' notes."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("doc_string")
    copy.ClearField("metadata_props")
    return copy


def _value_info(name: str, proto: TypeProto) -> ValueInfoProto:
    info = ValueInfoProto(name=name)
    info.type.CopyFrom(proto)
    return info
