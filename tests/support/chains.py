"""Comparing a chain of segments with the model it was cut from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto

from tercet.codecs.codec import Array
from tercet.inference.segment_chain import SegmentChain, open_session
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet_cloud.models.boundaries import Cut
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.slicing import slice_model

Tensors = dict[str, Array]


def run_whole(onnx_bytes: bytes, tensors: Mapping[str, Array]) -> Tensors:
    """Outputs of the uncut model."""
    session = open_session(onnx_bytes, 2, ["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(tensors)), strict=True))


def put_slices(store: Store, graph: OnnxGraph, cuts: Sequence[Cut], name: str = "model") -> Manifest:
    """Cut, check every segment with onnx, and put all into the store."""
    manifest, files = slice_model(graph, name, cuts)
    for segment, data in zip(manifest.segments, files, strict=True):
        onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
        assert store.add_segment(data) == segment.sha256
    store.add_manifest(manifest)
    return manifest


def run_chain(store: Store, manifest: Manifest, tensors: Mapping[str, Array]) -> Tensors:
    """Outputs of all segments one after the other."""
    return SegmentChain(manifest, store, threads=2).run(tensors, 0, len(manifest.segments))


def relative_error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Largest |found - expected| over max(1, largest |expected|), over all tensors, which must be the same."""
    assert found.keys() == expected.keys()
    worst = 0.0
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        if array.size:
            gap = np.abs(np.asarray(found[name], np.float64) - np.asarray(array, np.float64)).max()
            worst = max(worst, float(gap / max(1.0, np.abs(np.asarray(array, np.float64)).max())))
    return worst


def run_whole_with_inside(graph: OnnxGraph, cuts: Sequence[Cut], tensors: Mapping[str, Array]) -> Tensors:
    """All tensors that cross at `cuts`, inputs and outputs, as the uncut model computes them."""
    wider = ModelProto()
    wider.CopyFrom(graph.model)
    for name in dict.fromkeys(name for cut in cuts for name in cut.tensors):
        if name not in (*graph.inputs, *graph.outputs):
            wider.graph.output.append(onnx.helper.make_value_info(name, graph.types.proto(name)))
    return {**tensors, **run_whole(wider.SerializeToString(), tensors)}


def run_and_compare_every_boundary(
    chain: SegmentChain, tensors: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float
) -> Tensors:
    """Run segment after segment; every boundary must be finite and within `tolerance` of `expected`."""
    current = dict(tensors)
    for index in range(len(chain.manifest.segments)):
        current = chain.run(current, index, index + 1)
        wanted = {name: expected[name] for name in chain.manifest.boundaries[index + 1].names}
        assert all(np.isfinite(array).all() for array in wanted.values() if array.dtype.kind == "f")
        assert relative_error(current, wanted) <= tolerance, f"boundary {index + 1}"
    return current
