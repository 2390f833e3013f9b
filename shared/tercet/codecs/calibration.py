"""Static calibrations: the ranges of a boundary's tensors, known to both ends, so that no scales cross the link.

A calibration is a frozen document addressed by the sha256 of its canonical bytes; codecs name it by the first 12
digits (`int4:static@0123456789ab`). It holds ranges, not scales, so that every intN can use it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, FiniteFloat, model_validator

from tercet.codecs.transform_calibration import TensorTransform
from tercet.documents import Document
from tercet.errors import NotFoundError, SpecError

DIGEST_CHARS = 12
MAX_CHANNELS = 1 << 16
Range = Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=MAX_CHANNELS)]


class TensorCalibration(Document):
    """The range of each channel of one tensor, after clipping; both contain 0.

    `axis` is 1 for one range per channel, None for one range in all. Values are float32 numbers.
    """

    tensor: str
    axis: Literal[1] | None
    low: Range
    high: Range

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.low) != len(self.high) or (self.axis is None and len(self.low) != 1):
            raise ValueError("low and high need one value per channel, or one each without an axis")
        if max(self.low) > 0 or min(self.high) < 0:
            raise ValueError("every range must contain 0")
        return self


class Calibration(Document):
    """What `calibrations/SHA256.json` holds."""

    format: Literal[1] = 1
    method: str
    tensors: Annotated[tuple[TensorCalibration | TensorTransform, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({part.tensor for part in self.tensors}) != len(self.tensors):
            raise ValueError("two parts of a calibration are of the same tensor")
        return self

    def to_bytes(self) -> bytes:
        """The canonical bytes: JSON with sorted keys and no spaces."""
        data = self.model_dump(mode="json")
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def digest(self) -> str:
        """How codecs name this calibration."""
        return self.sha256[:DIGEST_CHARS]

    def of_tensor(self, name: str | None) -> TensorCalibration | TensorTransform:
        """The part of one tensor; without a name, the only part there is. SpecError if there is none."""
        if name is None and len(self.tensors) == 1:
            return self.tensors[0]
        for part in self.tensors:
            if part.tensor == name:
                return part
        known = ", ".join(part.tensor for part in self.tensors)
        raise SpecError(f"calibration {self.digest} has tensors {known}, not {name!r}: is it of another boundary?")


class Calibrations(Protocol):
    """Finds calibrations. Compared by identity and kept with the codecs built from it: let one live long."""

    def __hash__(self) -> int: ...

    def calibration(self, digest: str) -> Calibration:
        """The calibration whose sha256 starts with `digest`; NotFoundError if it is not here."""
        ...


class KnownCalibrations:
    """Calibrations in memory."""

    def __init__(self, calibrations: Iterable[Calibration] = ()) -> None:
        self._by_digest = {calibration.digest: calibration for calibration in calibrations}

    def add(self, calibration: Calibration) -> str:
        """Make a calibration known; returns the digest that codecs name it by."""
        self._by_digest[calibration.digest] = calibration
        return calibration.digest

    def calibration(self, digest: str) -> Calibration:
        try:
            return self._by_digest[digest]
        except KeyError:
            raise NotFoundError(f"calibration {digest} is not known here: deploy it with the model") from None
