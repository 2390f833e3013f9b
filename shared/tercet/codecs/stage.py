"""What a stage of a codec is, where it may stand, and how stages become one codec.

A stage is parsed from its text into a frozen dataclass that prints its canonical spelling (`StageSpec`), and that
builds a codec: number formats from nothing, all others around an inner codec. `top10%+int8+zstd` becomes
zstd(top10%(int8)): the format innermost, then what stands before it, then what stands after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from typing import Protocol

from tercet.codecs.calibration import Calibrations
from tercet.codecs.codec import Codec
from tercet.codecs.spec import StageText
from tercet.codecs.step_kernel import StepKernel
from tercet.errors import SpecError
from tercet.models.card import ImageInput


class Slot(IntEnum):
    """Where a stage stands; at most one stage a slot, FORMAT always."""

    TEMPORAL = 0
    SPARSIFY = 1
    FORMAT = 2
    ENTROPY = 3


@dataclass(frozen=True)
class BuildContext:
    """What stages may ask while they become a codec.

    `calibrations` finds static scales (None: there are none here). `tensor` is the tensor's name, which picks its
    part of a calibration (None: the calibration must be of one tensor). `entropy_follows` tells a number format
    to leave its steps where an entropy stage sees them best. `image` is the card's input, for formats that code
    photos (None: they can only decode).
    `kernel` computes static quantisation (None: numpy).
    """

    calibrations: Calibrations | None = None
    tensor: str | None = None
    entropy_follows: bool = False
    image: ImageInput | None = None
    kernel: StepKernel | None = None


class StageSpec(Protocol):
    """A parsed stage: a frozen dataclass whose `str` is the one canonical spelling."""

    def __str__(self) -> str: ...

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        """The codec of this stage around `inner`, which is None exactly for FORMAT stages.

        Raises SpecError if this stage can't stand around that codec, NotFoundError for an unknown calibration.
        """
        ...


@dataclass(frozen=True)
class StageKind:
    """One line of the registry.

    `title` is how errors list it ("top10%"); `pattern` matches all of a stage's name; `parse` raises SpecError for
    wrong arguments. `alone` marks formats that no other stage may join, because their payload is a file. `before`
    matches the names of those stages before which alone this one may stand.
    """

    title: str
    slot: Slot
    pattern: str
    parse: Callable[[StageText], StageSpec]
    alone: bool = False
    before: str = ".*"

    def matches(self, stage: StageText) -> bool:
        return re.fullmatch(self.pattern, stage.name, re.ASCII) is not None


@dataclass(frozen=True)
class CodecSpec:
    """A whole specification; `str` is its canonical spelling."""

    stages: tuple[tuple[Slot, StageSpec], ...]

    def __str__(self) -> str:
        return "+".join(str(stage) for _, stage in self.stages)

    @property
    def stateless(self) -> CodecSpec:
        """The same without `delta`: what every receiver can read by itself."""
        return CodecSpec(tuple((slot, stage) for slot, stage in self.stages if slot is not Slot.TEMPORAL))

    def build(self, context: BuildContext) -> Codec:
        slots = dict(self.stages)
        entropy_follows = Slot.ENTROPY in slots
        context = replace(context, entropy_follows=entropy_follows)
        codec = slots[Slot.FORMAT].build(None, context)
        for slot in (Slot.SPARSIFY, Slot.TEMPORAL, Slot.ENTROPY):
            if slot in slots:
                codec = slots[slot].build(codec, context)
        return codec


def arrange(spec: str, kinds: tuple[tuple[StageKind, StageText], ...]) -> CodecSpec:
    """Check order and company of stages, then parse each; SpecError naming the offending one."""
    for (before, first), (kind, stage) in pairwise(kinds):
        if kind.slot <= before.slot:
            raise SpecError(
                f"codec {spec!r}: {str(stage)!r} may not stand after {before.title!r}; the order is "
                "one sparsifier, one number format, one entropy stage, e.g. top10%+int8+zstd"
            )
        if not re.fullmatch(before.before, stage.name, re.ASCII):
            raise SpecError(f"codec {spec!r}: {str(first)!r} may stand only before {before.before}")
    if all(kind.slot != Slot.FORMAT for kind, _ in kinds):
        raise SpecError(f"codec {spec!r} has no number format: add one, e.g. int8 or raw")
    if len(kinds) > 1 and (lonely := [str(stage) for kind, stage in kinds if kind.alone]):
        raise SpecError(f"codec {spec!r}: {lonely[0]!r} stands alone; no other stage may join it")
    return CodecSpec(tuple((kind.slot, kind.parse(stage)) for kind, stage in kinds))
