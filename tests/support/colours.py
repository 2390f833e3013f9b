"""Classifiers of photos of any size, by the mean of each colour: for stages that take different sizes."""

from __future__ import annotations

from support.onnx_models import parse
from tercet.models.card import ImageInput, ModelCard, OnnxFile
from tercet.models.store import Store, sha256_of

LABELS = ("red", "green", "blue")


def put_colours(store: Store, name: str = "colours", size: int = 32, contrast: float = 2.0) -> ModelCard:
    """Put the model and its card into `store`; scores are `contrast` times the mean colours."""
    rows = [str(contrast if column == row else 0.0) for row in range(3) for column in range(3)]
    onnx_bytes = parse(
        f"""free (float[N, 3, H, W] x) => (float[N, 3] scores)
<float[3, 3, 1, 1] w = {{{", ".join(rows)}}}> {{
    mixed = Conv(x, w)
    pooled = GlobalAveragePool(mixed)
    scores = Flatten(pooled)
}}"""
    )
    card = ModelCard(
        name=name,
        description=f"of {size}×{size}",
        task="classification",
        licence="Apache-2.0",
        onnx=OnnxFile(sha256=sha256_of(onnx_bytes), size_bytes=len(onnx_bytes)),
        input=ImageInput(tensor="x", size=size, resize_shorter=size + 4, mean=(127.0,) * 3, std=(128.0,) * 3),
        output="scores",
        labels=LABELS,
    )
    store.add_model(card, onnx_bytes)
    return card
