"""What coding was measured to cost: for every tensor that may cross and every codec of the menu, bytes and time."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from tercet.documents import Document
from tercet.identifiers import Name, Sha256

NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class MenuCodec(Document):
    """A codec of the menu. `title` is for people ("klt:5"), `spec` what crosses the wire ("klt:5:static@…")."""

    title: str
    spec: str
    # The tensor comes back bit by bit: no accuracy is lost, and none needs measuring.
    lossless: bool = False
    # Codes the photo itself: only where nothing has been computed yet.
    image: bool = False


class TensorCoding(Document):
    """Over the sample frames: mean bytes on the wire with the tensor's own header, median times on this machine."""

    bytes: NotNegative
    encode_ms: NotNegative
    decode_ms: NotNegative


class CodingTable(Document):
    """One model.

    Attributes:
        samples: in a few words, what frames it was measured on.
        tensors: by tensor name, one entry a codec in the menu's order; None where the codec cannot code it. A
            tensor that is not here cannot cross.
        answer_bytes: the outputs as they travel back, raw, with headers.
        header_bytes: what a frame carries beside its tensors.
    """

    format: Literal[1] = 1
    model: Name
    model_sha256: Sha256
    samples: str
    frames: Annotated[int, Field(ge=1)]
    codecs: Annotated[tuple[MenuCodec, ...], Field(min_length=1)]
    tensors: dict[str, tuple[TensorCoding | None, ...]]
    answer_bytes: NotNegative
    header_bytes: NotNegative

    @model_validator(mode="after")
    def _check(self) -> Self:
        titles = [codec.title for codec in self.codecs]
        if len(set(titles)) != len(titles):
            raise ValueError("two codecs have the same title")
        for name, entries in self.tensors.items():
            if len(entries) != len(self.codecs):
                raise ValueError(f"tensor {name!r} has {len(entries)} entries for {len(self.codecs)} codecs")
        return self

    def codec(self, title: str) -> MenuCodec:
        return self.codecs[self.index(title)]

    def index(self, title: str) -> int:
        return [codec.title for codec in self.codecs].index(title)
