"""Everything that a plan rests on, brought together: profiles of three tiers, the coding table, sizes of weights.

What is missing is measured on this machine and kept in the store; what stands in a file is read. Nothing here
decides anything.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tercet.codecs.spec import split_spec
from tercet.documents import read_document
from tercet.errors import IntegrityError, NotFoundError, SpecError
from tercet.inference.profiler import Profiler, ProfileRequest
from tercet.machine import this_machine
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.profile import Profile
from tercet.tiers import Tier
from tercet_cloud.measurement.sample_frames import SampleFrames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.models.profiling_cut import slice_for_profiling
from tercet_cloud.planner.coding_measurement import measure_coding
from tercet_cloud.planner.coding_menu import DEFAULT_MENU
from tercet_cloud.planner.coding_table import CodingTable
from tercet_cloud.planner.cost_model import ModelMeasurements
from tercet_cloud.planner.linear_cost import Float64Array
from tercet_cloud.planner.measurement_cache import MeasurementCache
from tercet_cloud.planner.onnx_cut_graph import cut_graph_of
from tercet_cloud.planner.op_times import operation_times_ms
from tercet_cloud.planner.topology import Topology

# Changes when what is measured, or how, does: kept measurements of before are then not used.
METHOD = 1
HERE = "this-machine"
_STATIC = "static@"

# Share done, 0…1.
Progress = Callable[[float], None]
# Begins a step with a title, and gives what is told how far it is.
Steps = Callable[[str], Progress]


@dataclass(frozen=True)
class TierProfile:
    """A tier's profile; `file` is where it was read from, None if it was measured here."""

    profile: Profile
    file: Path | None


@dataclass(frozen=True)
class PlannedModel:
    """One model with what it is measured on."""

    store: Store
    card: ModelCard
    graph: OnnxGraph
    samples: SampleFrames

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the model's inputs, for one frame."""
        return {name: array.shape for name, array in self.samples.evaluation.frames[0].items()}


def gather_profiles(
    model: PlannedModel,
    topology: Topology,
    folder: Path,
    given: Mapping[Tier, Path],
    cache: MeasurementCache,
    steps: Steps,
) -> dict[Tier, TierProfile]:
    """A profile for each tier: of a file given for it, else of the topology, else measured here once for all.

    Args:
        folder: what file names in the topology are relative to.
        given: files that take precedence.
    Raises:
        NotFoundError, SpecError: a file that is not there, no profile, or one of another model.
    """
    found: dict[Tier, TierProfile] = {}
    for tier in Tier:
        stated = topology.tiers.of(tier).profile
        path = given.get(tier) or (folder / stated if stated is not None else None)
        if path is not None:
            found[tier] = TierProfile(_read_profile(path, model, tier), path)
    missing = [tier for tier in Tier if tier not in found]
    if missing:
        here = TierProfile(_profile_here(model, cache, steps), None)
        found |= dict.fromkeys(missing, here)
    return {tier: found[tier] for tier in Tier}


def gather_coding(model: PlannedModel, cache: MeasurementCache, steps: Steps) -> CodingTable:
    """The coding table, measured here or kept from before."""
    path = cache.path(
        "coding",
        [
            *_circumstances(model),
            list(DEFAULT_MENU),
            model.samples.calibration.digest,
            model.samples.evaluation.digest,
        ],
    )

    def measure() -> CodingTable:
        tell = steps("codecs × tensors")
        return measure_coding(
            model.store, model.card, model.graph, model.samples, progress=lambda done, total: tell(done / total)
        )

    table = cache.get(CodingTable, path, measure)
    if not _calibrations_there(table, model.store):
        table = measure()
        cache.keep(table, path)
    return table


def join_measurements(
    model: PlannedModel, profiles: Mapping[Tier, TierProfile], coding: CodingTable
) -> ModelMeasurements:
    """Pure arithmetic."""
    sessions = [profiles[tier].profile.session_ms for tier in Tier]
    return ModelMeasurements(
        graph=cut_graph_of(model.graph),
        op_ms=np.stack([operation_times_ms(profiles[tier].profile, model.graph) for tier in Tier]),
        session_ms=(sessions[0], sessions[1], sessions[2]),
        weights_bytes=weights_bytes(model.graph),
        activation_bytes=_activation_bytes(model.graph, tensor_bytes(coding)),
        runtime_bytes=float(profiles[Tier.DEVICE].profile.memory.runtime_bytes),
        coding=coding,
    )


def weights_bytes(graph: OnnxGraph) -> Float64Array:
    """(operations,) bytes of the constants that each operation needs; shared ones are counted at each."""
    return np.array(
        [
            float(sum(item.ByteSize() for item in (*found.initializers, *found.sparse_initializers, *found.nodes)))
            for operation in graph.operations
            for found in (graph.constants(operation.constants),)
        ]
    )


def tensor_bytes(coding: CodingTable) -> dict[str, int]:
    """Raw bytes by tensor name, headers included."""
    raw = coding.index("raw")
    return {name: round(entry.bytes) for name, entries in coding.tensors.items() if (entry := entries[raw])}


def _activation_bytes(graph: OnnxGraph, sizes: Mapping[str, int]) -> Float64Array:
    return np.array([float(sum(sizes.get(name, 0) for name in item.gives)) for item in graph.operations])


def _read_profile(path: Path, model: PlannedModel, tier: Tier) -> Profile:
    profile = read_document(Profile, path)
    if profile.model_sha256 != model.graph.sha256:
        raise SpecError(
            f"{path} is a profile of another {profile.model} (sha256 {profile.model_sha256[:12]}…) than "
            f"{model.card.name} here ({model.graph.sha256[:12]}…): run `tercet profile {model.card.name} "
            f"--tier {tier}` on the {tier} with this model"
        )
    return profile


def _profile_here(model: PlannedModel, cache: MeasurementCache, steps: Steps) -> Profile:
    path = cache.path("profile", [*_circumstances(model), model.shapes])

    def measure() -> Profile:
        tell = steps("profile of this machine")
        cuts = slice_for_profiling(model.store, model.card.name)
        request = ProfileRequest(tier=Tier.DEVICE, node=HERE, shapes=model.shapes)
        return Profiler(cuts.fine, model.store, request).measure(progress=tell).profile

    return cache.get(Profile, path, measure)


def _circumstances(model: PlannedModel) -> list[object]:
    """What any measurement of a model on this machine hangs on."""
    return [
        METHOD,
        model.graph.sha256,
        this_machine().model_dump(mode="json"),
        platform.python_version(),
        version("onnxruntime"),
    ]


def _calibrations_there(table: CodingTable, store: Store) -> bool:
    """Whether the store still has what the table's codecs were fitted with."""
    digests = {
        argument.removeprefix(_STATIC)
        for codec in table.codecs
        for stage in split_spec(codec.spec)
        for argument in stage.arguments
        if argument.startswith(_STATIC)
    }
    try:
        for digest in digests:
            store.calibration(digest)
    except (NotFoundError, IntegrityError):
        return False
    return True
