"""Everything that a plan rests on, brought together: profiles of three tiers, the coding table, sizes of weights.

What is missing is measured on this machine and kept in the store; what stands in a file is read. Nothing here
decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tercet.cli.profile_options import DEFAULT_SECONDS, ProfileOptions, this_node
from tercet.documents import read_document
from tercet.errors import SpecError
from tercet.inference.segment_chain import DEFAULT_PROVIDERS
from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.profile import Profile
from tercet.tiers import Tier
from tercet_cloud.measurement.profile_command import measure_model
from tercet_cloud.measurement.sample_frames import SampleFrames
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.costs.cost_model import ModelMeasurements
from tercet_cloud.planner.costs.op_memory import activation_bytes, weights_bytes
from tercet_cloud.planner.costs.op_times import operation_times_ms
from tercet_cloud.planner.costs.topology import Topology
from tercet_cloud.planner.cuts.onnx_cut_graph import cut_graph_of
from tercet_cloud.planner.measuring.coding_measurement import coding_table
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.measurement_cache import MeasurementCache, this_machine

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
    *,
    seconds: float = DEFAULT_SECONDS,
) -> dict[Tier, TierProfile]:
    """A profile for each tier: of a file given for it, else of the topology, else measured here once for all.

    Args:
        folder: what file names in the topology are relative to.
        given: files that take precedence.
        seconds: how long to measure, if need be.
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
        here = TierProfile(_profile_here(model, cache, steps, seconds), None)
        found |= dict.fromkeys(missing, here)
    return {tier: found[tier] for tier in Tier}


def gather_coding(model: PlannedModel, cache: MeasurementCache, steps: Steps) -> CodingTable:
    """The coding table, measured here or kept from before."""
    bar: list[Progress] = []

    def tell(done: int, total: int) -> None:
        # A bar only if there is something to wait for.
        if not bar:
            bar.append(steps("codecs × tensors"))
        bar[0](done / total)

    return coding_table(model.store, model.card, model.graph, model.samples, progress=tell, cache=cache)


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
        activation_bytes=activation_bytes(model.graph, coding),
        runtime_bytes=float(profiles[Tier.DEVICE].profile.memory.runtime_bytes),
        coding=coding,
    )


def tensor_bytes(coding: CodingTable) -> dict[str, int]:
    """Raw bytes by tensor name, headers included."""
    raw = coding.index("raw")
    return {name: round(entry.bytes) for name, entries in coding.tensors.items() if (entry := entries[raw])}


def _read_profile(path: Path, model: PlannedModel, tier: Tier) -> Profile:
    profile = read_document(Profile, path)
    if profile.model_sha256 != model.graph.sha256:
        raise SpecError(
            f"{path} is a profile of another {profile.model} (sha256 {profile.model_sha256[:12]}…) than "
            f"{model.card.name} here ({model.graph.sha256[:12]}…): run `tercet profile {model.card.name} "
            f"--tier {tier}` on the {tier} with this model"
        )
    return profile


def _profile_here(model: PlannedModel, cache: MeasurementCache, steps: Steps, seconds: float) -> Profile:
    key = {"model": model.graph.sha256, "shapes": model.shapes, "machine": this_machine(), "seconds": seconds}
    found = cache.recall(Profile, key)
    if found is None:
        options = ProfileOptions(
            model=model.card.name,
            tier=Tier.DEVICE,
            threads=1,
            providers=DEFAULT_PROVIDERS,
            shapes=model.shapes,
            seconds=seconds,
            node=this_node(),
            out=Path(),
            as_json=False,
            store=model.store.root,
        )
        found = measure_model(options, steps("profile of this machine"))
        cache.keep(found, key)
    return found
