"""EfficientNet-Lite0 cut in three, and plans that differ in codecs only: what the benches of transport send."""

from __future__ import annotations

from tercet.models.card import ModelCard
from tercet.models.store import Store
from tercet.plans import Deployment, LinkCodecs, Plan
from tercet_cloud.models.catalog import fetch_model
from tercet_cloud.models.slicing import slice_into_store

MODEL = "efficientnet-lite0"
# The first 80×14×14 and the last 192×7×7: the narrowest places of the network.
CUTS = (("block05",), ("block14",))
CODECS = ("raw", "fp16", "int8")


def stored_model(store: Store) -> ModelCard:
    """The model from the store, exported into it first if it is not there."""
    return store.card(MODEL) if MODEL in store.model_names() else fetch_model(store, MODEL)


def cut_model(card: ModelCard, store: Store) -> Deployment:
    """Segments and manifest into the store, and one plan per codec over the same cuts."""
    manifest = slice_into_store(store, card.name, CUTS)
    plans = tuple(
        Plan(id=codec, device_until=1, edge_until=2, codecs=LinkCodecs(device_edge=codec, edge_cloud=codec))
        for codec in CODECS
    )
    return Deployment(model=manifest.ref, plans=plans)
