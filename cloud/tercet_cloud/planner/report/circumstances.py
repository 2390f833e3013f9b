"""What the figures of a plan rest on, in words: what was measured where, what is only stated, what is emulated."""

from __future__ import annotations

from collections.abc import Mapping

from tercet.tiers import Tier
from tercet_cloud.measurement.drop_bound import explain_frames
from tercet_cloud.measurement.sample_frames import SampleFrames
from tercet_cloud.planner.costs.topology import Constraints, LinkSpec, Objective, Topology, Weights
from tercet_cloud.planner.measuring.coding_table import CodingTable
from tercet_cloud.planner.measuring.gathering import TierProfile
from tercet_cloud.planner.searching.search import SearchResult

OBJECTIVES: Mapping[str, str] = {
    "latency": "latency, ms",
    "throughput": "throughput, ms a frame",
    "energy": "energy of the device, mJ",
    "bytes": "bytes, KB",
}
_WEIGHTS = {
    "latency_ms": "ms latency",
    "throughput_ms": "ms of the busiest stage",
    "energy_mj": "mJ",
    "device_edge_kb": "KB device–edge",
    "edge_cloud_kb": "KB edge–cloud",
    "cost": "money",
}


def objective_text(objective: Objective) -> str:
    """With its unit, after a comma."""
    if not isinstance(objective, Weights):
        return OBJECTIVES[objective]
    parts = [f"{weight:g} × {_WEIGHTS[name]}" for name, weight in objective.model_dump().items() if weight]
    return f"{' + '.join(parts)}, weighted"


def describe_circumstances(
    topology: Topology,
    profiles: Mapping[Tier, TierProfile],
    coding: CodingTable,
    samples: SampleFrames,
    result: SearchResult,
    *,
    counted: bool,
) -> tuple[str, ...]:
    """A line each, warnings first.

    Args:
        counted: whether the metric is 0 or 1 for each frame.
    """
    warnings = [*samples.warnings]
    if drop := topology.constraints.max_accuracy_drop:
        warnings.append(explain_frames(drop, len(samples.evaluation.frames), counted=counted))
    return (
        *(f"Warning: {warning}." for warning in warnings if warning),
        *([f"{topology.name}: {topology.note}"] if topology.note else []),
        *_profile_lines(topology, profiles),
        f"Links, stated: device–edge {_link_text(topology.links.device_edge)}; "
        f"edge–cloud {_link_text(topology.links.edge_cloud)}.",
        f"Coding: {len(coding.codecs)} codecs measured on this machine, on {coding.samples}; times as slowed down "
        "as the tier.",
        f"Accuracy: {result.chosen.accuracy.metric if result.chosen.accuracy else 'no loss'}, measured on "
        f"{samples.evaluation.description}; “drop at most” is the upper 95 % bound.",
        f"The exact optimum over all cuts and codec pairs; solved in {result.solve_ms:,.0f} ms.",
        *(
            ["Not all was measured for accuracy: a plan that is better by the objective may be allowed."]
            if result.stopped
            else []
        ),
    )


def emulation_text(topology: Topology, profiles: Mapping[Tier, TierProfile]) -> str:
    """In one line what is stated or emulated rather than measured on the machine itself."""
    parts = [
        f"{tier} = its profile × {topology.tiers.of(tier).slowdown:g}"
        for tier in Tier
        if topology.tiers.of(tier).slowdown != 1
    ]
    parts += [
        f"{tier}'s profile was slowed down {found.profile.slowdown:g} × (emulation)"
        for tier, found in profiles.items()
        if found.profile.slowdown != 1
    ]
    if all(found.file is None for found in profiles.values()):
        parts.append("all tiers are profiled on this machine")
    return "; ".join([*parts, "links as stated"])


def constraint_texts(constraints: Constraints) -> tuple[str, ...]:
    stated = {
        "deadline": (constraints.deadline_ms, "ms"),
        "device memory": (constraints.max_device_memory_mb, "MB"),
        "device energy a frame": (constraints.max_device_energy_mj, "mJ"),
        "accuracy drop (upper 95 % bound)": (constraints.max_accuracy_drop, ""),
    }
    texts = [f"{name} ≤ {bound:g} {unit}".rstrip() for name, (bound, unit) in stated.items() if bound is not None]
    return (*texts, *(["the raw input stays on the device"] if constraints.private_input else []))


def _profile_lines(topology: Topology, profiles: Mapping[Tier, TierProfile]) -> list[str]:
    """A line for each profile, with the tiers that it stands for."""
    users: dict[int, list[Tier]] = {}
    for tier, found in profiles.items():
        users.setdefault(id(found.profile), []).append(tier)
    lines = []
    for tiers in users.values():
        found = profiles[tiers[0]]
        profile = found.profile
        slowed = [f"{tier} × {factor:g}" for tier in tiers if (factor := topology.tiers.of(tier).slowdown) != 1]
        where = f"from {found.file}" if found.file else "measured on this machine"
        emulated = f", slowed down {profile.slowdown:g} × on purpose (emulation)" if profile.slowdown != 1 else ""
        stated = f", times the stated slow-down ({', '.join(slowed)})" if slowed else ""
        lines.append(
            f"{', '.join(tiers).capitalize()}: {where} ({profile.hardware.processor}, {profile.runtime}, "
            f"{profile.threads} thread{'s' if profile.threads > 1 else ''}, {profile.measured_at[:10]}; "
            f"whole model {profile.whole_ms:.1f} ms, median error of predicted segments {profile.median_error:.1%})"
            f"{emulated}{stated}."
        )
    return lines


def _link_text(link: LinkSpec) -> str:
    same = link.up_mbps == link.down_mbps
    speed = f"{link.up_mbps:g}" + ("" if same else f" up, {link.down_mbps:g} down")
    return f"{speed} Mbit/s, {link.round_trip_ms:g} ms round trip, {link.overhead_ms:g} ms messaging"
