"""The model card, `model.yaml`: everything a tier must know to feed a model and read its answer."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from tercet.documents import Document
from tercet.identifiers import Name, Sha256

Channels3 = tuple[FiniteFloat, FiniteFloat, FiniteFloat]


class ImageInput(Document):
    """How a photo becomes the input tensor: (1, 3, size, size) float32, RGB, NCHW.

    The shorter side is resized to `resize_shorter`, the centre `size`×`size` is cut out, and each channel
    becomes (value - mean) / std, with value in 0…255.
    """

    kind: Literal["image"] = "image"
    tensor: str
    size: Annotated[int, Field(gt=0, le=8192)]
    resize_shorter: Annotated[int, Field(gt=0, le=16384)]
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    mean: Channels3
    std: Channels3
    layout: Literal["NCHW"] = "NCHW"
    channels: Literal["RGB"] = "RGB"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size > self.resize_shorter:
            raise ValueError(f"size {self.size} is larger than resize_shorter {self.resize_shorter}")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


class TensorInput(Document):
    """The application gives the tensors itself, as the model declares them."""

    kind: Literal["tensor"] = "tensor"


class OnnxFile(Document):
    """The model's weights and graph, beside the card."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.onnx$")] = "model.onnx"
    sha256: Sha256
    size_bytes: Annotated[int, Field(gt=0)]


class ModelCard(Document):
    """One model. `labels` are required where `task` is classification, in the order of the output."""

    format: Literal[1] = 1
    name: Name
    description: str = ""
    task: Literal["classification", "embedding", "detection", "text", "other"]
    licence: Annotated[str, Field(min_length=1)]
    source: str = ""
    onnx: OnnxFile
    input: Annotated[ImageInput | TensorInput, Field(discriminator="kind")]
    # The output a person asks for; for classification one score per label.
    output: str
    labels: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.task == "classification" and not self.labels:
            raise ValueError("a classification model needs labels")
        return self
