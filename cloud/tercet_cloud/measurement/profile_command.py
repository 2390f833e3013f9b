"""`tercet profile` where models can be cut: it slices by itself, and checks predictions at other cuts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tercet.cli.profile_command import request_of, with_progress
from tercet.cli.profile_options import ProfileOptions, profile_options
from tercet.cli.profile_report import deliver
from tercet.identifiers import ModelRef
from tercet.models.manifest import Manifest
from tercet.models.store import Store
from tercet.profile import Profile

if TYPE_CHECKING:
    from tercet_cloud.models.graph import OnnxGraph


@click.command()
@profile_options
def profile(options: ProfileOptions) -> None:
    """Measure what MODEL needs on this machine, for the planner.

    MODEL is a model of the store, which is cut at some two dozen places for this (`tercet models fetch` gets one),
    or NAME@DIGEST of a cut model. Measures every segment, ONNX Runtime's kernels, longer stretches and memory, and
    shows how well times predicted from the segments match, also in sessions cut elsewhere. To measure another
    machine, copy the store there and run `tercet profile NAME@DIGEST`.

    \b
    Example:
      tercet profile efficientnet-lite0 --tier cloud --threads 2
    """
    with_progress(options, lambda progress: deliver(measure_model(options, progress), options))


def measure_model(options: ProfileOptions, progress: Callable[[float], None] = lambda share: None) -> Profile:
    """Slice if need be, measure, and check at other cuts if the model itself is in the store."""
    # Deferred so that `--help` loads neither onnx nor ONNX Runtime.
    from tercet.inference.profile_times import median_error
    from tercet.inference.profiler import Profiler
    from tercet_cloud.measurement.other_cuts import predict_slices, slice_elsewhere

    store = Store(options.store)
    manifest = _cut_model(store, options)
    profiler = Profiler(manifest, store, request_of(options))
    graph = _graph(store, manifest)
    if graph is None:
        return profiler.measure(progress=progress).profile
    with tempfile.TemporaryDirectory(prefix="tercet-slices-") as folder:
        slices = slice_elsewhere(
            graph,
            manifest,
            profiler.inputs,
            Store(Path(folder)),
            threads=options.threads,
            providers=options.providers,
        )
        found = profiler.measure([item.probe for item in slices], progress=progress)
    judged = predict_slices(found.profile, graph, slices, found.probes_ms.tolist())
    return found.profile.model_copy(
        update={"slices": judged, "median_error": median_error(found.profile.spans, judged)}
    )


def _cut_model(store: Store, options: ProfileOptions) -> Manifest:
    from tercet_cloud.models.profiling_cut import slice_for_profiling

    if "@" in options.model:
        return store.manifest(ModelRef(options.model))
    return slice_for_profiling(store, options.model, options.shapes).fine


def _graph(store: Store, manifest: Manifest) -> OnnxGraph | None:
    """The model that the manifest was cut from; None if the store does not have it."""
    from tercet_cloud.models.graph import OnnxGraph

    if manifest.model not in store.model_names():
        return None
    card = store.card(manifest.model)
    return OnnxGraph(store.model_bytes(card)) if card.onnx.sha256 == manifest.model_sha256 else None
