"""Three classifiers whose scores the input dictates, and cascades of them: real ONNX, every exit at will.

The input is (N, 6) float32: the scores of small, of mid and of large, two classes each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support.onnx_models import parse
from tercet.cascade.document import AuditTerms, Cascade, CascadeStage
from tercet.cascade.exit_rule import ExitRule
from tercet.codecs.codec import Float32Array
from tercet.identifiers import ModelRef
from tercet.models.card import ModelCard, OnnxFile, TensorInput
from tercet.models.store import Store, sha256_of
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet.tiers import Tier
from tercet_cloud.models.slicing import slice_into_store

INPUT, OUTPUT = "x", "scores"
NAMES = ("small", "mid", "large")
PLAN = "whole"
SURE, UNSURE = 9.0, 0.1


def dictated_input(small: float, mid: float, large: float) -> Float32Array:
    """(1, 6): each stage's score for class 1; class 0 has the negative of it."""
    return np.array([[-small, small, -mid, mid, -large, large]], np.float32)


@dataclass(frozen=True)
class Dictated:
    """The models in a store, their deployments by name, and a cascade of them."""

    store: Store
    deployments: dict[str, Deployment]
    cascade: Cascade


def dictated_cascade(
    root: Path,
    *,
    names: tuple[str, ...] = NAMES,
    tiers: tuple[Tier, ...] = (Tier.DEVICE, Tier.EDGE, Tier.CLOUD),
    audit: AuditTerms | None = None,
    threshold: float = 0.9,
) -> Dictated:
    """Models and an uncertified cascade over `tiers`."""
    store = Store(root)
    deployments = {
        name: whole_deployment(put_model(store, name), store, tier) for name, tier in zip(names, tiers, strict=True)
    }
    stages = [
        CascadeStage(
            tier=tier,
            model=deployments[name].model,
            plan=PLAN,
            exit=ExitRule(threshold=threshold) if name != names[-1] else None,
        )
        for name, tier in zip(names, tiers, strict=True)
    ]
    return Dictated(
        store,
        deployments,
        Cascade(name="dictated", stages=tuple(stages), audit=audit or AuditTerms(share=0), uncertified=True),
    )


def put_model(store: Store, name: str) -> ModelCard:
    first = 2 * NAMES.index(name)
    onnx_bytes = parse(
        f"""{name} (float[N, 6] x) => (float[N, 2] scores)
<int64[1] starts = {{{first}}}, int64[1] ends = {{{first + 2}}}, int64[1] axes = {{1}}, float[1] one = {{1.0}}> {{
    picked = Slice(x, starts, ends, axes)
    scores = Mul(picked, one)
}}"""
    )
    card = ModelCard(
        name=name,
        task="classification",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=TensorInput(),
        output=OUTPUT,
        labels=("no", "yes"),
    )
    store.add_model(card, onnx_bytes)
    return card


def cut_large(made: Dictated) -> Dictated:
    """The same, with the large model cut between edge and cloud."""
    manifest = slice_into_store(made.store, "large", [["picked"]])
    plan = Plan(id=PLAN, device_until=0, edge_until=1, codecs=LinkCodecs(edge_cloud="fp16"))
    deployment = Deployment(model=manifest.ref, plans=(plan,))
    last = made.cascade.stages[-1].model_copy(update={"model": manifest.ref})
    cascade = made.cascade.model_copy(update={"stages": (*made.cascade.stages[:-1], last)})
    return Dictated(made.store, {**made.deployments, "large": deployment}, cascade)


def whole_deployment(card: ModelCard, store: Store, tier: Tier, codec: str = "raw") -> Deployment:
    """The whole model on one tier, its input by `codec`."""
    manifest = slice_into_store(store, card.name, [])
    last = len(manifest.segments)
    until = {Tier.DEVICE: (last, last), Tier.EDGE: (0, last), Tier.CLOUD: (0, 0)}[tier]
    first, second = ("raw" if tier == Tier.DEVICE else codec), (codec if tier == Tier.CLOUD else "raw")
    codecs = LinkCodecs(device_edge=first, edge_cloud=second)
    plan = Plan(id=PLAN, device_until=until[0], edge_until=until[1], codecs=codecs)
    return Deployment(model=ModelRef(manifest.ref), plans=(plan,))
