"""Every stage by its name; the only place that lists them. A new stage is one line here."""

from __future__ import annotations

from functools import lru_cache

from tercet.codecs import bf16, delta, fp16, image, quantised, raw, sparse, transform, zstd
from tercet.codecs.calibration import Calibrations
from tercet.codecs.codec import Codec
from tercet.codecs.spec import StageText, split_spec
from tercet.codecs.stage import BuildContext, CodecSpec, Slot, StageKind, arrange
from tercet.codecs.step_kernel import StepKernel
from tercet.errors import SpecError
from tercet.models.card import ImageInput

STAGES: tuple[StageKind, ...] = (
    raw.KIND,
    fp16.KIND,
    *quantised.KINDS,
    bf16.KIND,
    *sparse.KINDS,
    zstd.KIND,
    *image.KINDS,
    delta.KIND,
    transform.KIND,
)


def codec_names() -> tuple[str, ...]:
    """The number formats, each a codec by itself."""
    return tuple(kind.title for kind in STAGES if kind.slot is Slot.FORMAT and not kind.alone)


@lru_cache(maxsize=512)
def parse_spec(spec: str) -> CodecSpec:
    """The stages of a specification, checked but not built; its `str` is the canonical spelling.

    Raises:
        SpecError: an unknown stage, a wrong argument or order, naming the stage and what is known.
    """
    return arrange(spec, tuple((_kind_of(stage), stage) for stage in split_spec(spec)))


def parse_codec(
    spec: str,
    calibrations: Calibrations | None = None,
    tensor: str | None = None,
    image: ImageInput | None = None,
    kernel: StepKernel | None = None,
) -> Codec:
    """The codec a specification names.

    Args:
        spec: e.g. "top10%+int8+zstd:3"; grammar in `spec`.
        calibrations: finds the calibrations that `static@DIGEST` names; needed only for those.
        tensor: which tensor of a calibration; None if it has only one.
        image: the card's input, for image codecs that shall encode.
        kernel: computes static quantisation; numpy if left out.
    Raises:
        SpecError: see `parse_spec`; or a static codec without `calibrations`.
        NotFoundError: a calibration that is not here.
    """
    if "@" in spec:
        return _build(spec, calibrations, tensor, None, kernel)
    return _build(spec, None, None, image, None)


@lru_cache(maxsize=512)
def _build(
    spec: str,
    calibrations: Calibrations | None,
    tensor: str | None,
    image: ImageInput | None,
    kernel: StepKernel | None,
) -> Codec:
    return parse_spec(spec).build(BuildContext(calibrations, tensor, image=image, kernel=kernel))


def _kind_of(stage: StageText) -> StageKind:
    for kind in STAGES:
        if kind.matches(stage):
            return kind
    known = ", ".join(kind.title for kind in STAGES)
    raise SpecError(f"codec stage {stage.name!r} is unknown here; known are {known}")
