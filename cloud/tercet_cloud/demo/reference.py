"""The uncut model's own scores: what every route is held against."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tercet.codecs.codec import Array
from tercet.errors import SpecError
from tercet.inference.whole_model import WholeModel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.photos import preprocess, read_photo
from tercet.models.store import Store


def reference_scores(card: ModelCard, store: Store, photos: Iterable[Path]) -> dict[str, Array]:
    """Scores (1, classes) float32 by photo path, one photo at a time as a device would."""
    if not isinstance(card.input, ImageInput):
        raise SpecError(f"model {card.name} does not take photos")
    model = WholeModel(store.model_bytes(card))
    scores = {}
    for photo in photos:
        image = preprocess(read_photo(photo), card.input)
        scores[str(photo)] = model.run({card.input.tensor: image})[card.output]
    return scores
