"""`int2` … `int8`: uniform quantisation of float32, affine or symmetric, per channel or per tensor.

    int8                    affine, a scale and zero point per channel and frame
    int4:tensor             one scale and zero point a frame
    int4:sym                symmetric around 0: scales only
    int4:static@DIGEST12    scales from a calibration that both ends know: nothing but steps on the link

A value x becomes the step rint(x / scale) + zero_point, and comes back as (step - zero_point) * scale: what ONNX
calls QuantizeLinear and DequantizeLinear. Zero is always exact. Source: Jacob et al. 2018, arXiv:1712.05877, eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from tercet.codecs.calibration import DIGEST_CHARS, TensorCalibration
from tercet.codecs.codec import (
    Array,
    Codec,
    EncodedTensor,
    Float32Array,
    contiguous_float32,
    element_count,
    require_size,
)
from tercet.codecs.packing import Steps, pack_steps, packed_bytes, unpack_steps
from tercet.codecs.scales import (
    LARGEST,
    Scales,
    calibrated_scales,
    channel_shape,
    expanded,
    frame_scales,
    read_scales,
    scale_bytes,
)
from tercet.codecs.spec import StageText
from tercet.codecs.stage import BuildContext, Slot, StageKind, StageSpec
from tercet.codecs.step_kernel import NumpyKernel, StepKernel
from tercet.errors import SpecError, TensorContractError, WireFormatError

# Up to so many values, scales are worth keeping at full size.
_SMALL = 64 * 1024


@dataclass(frozen=True)
class QuantisedCodec:
    """intN; `stage` says which.

    Per frame (tested): |x - decode(encode(x))| <= scale / 2 * (1 + 1e-3) of x's channel.
    Static (tested): the same for x inside the calibrated range; values outside saturate to its nearer end.
    A channel whose range is so small that float32 scales would be subnormal becomes all zeros.
    """

    stage: QuantisedFormat
    # Bits that a step takes in the payload; more than `stage.bits` only before an entropy stage.
    width: int
    static: Scales | None = field(default=None, compare=False)
    kernel: StepKernel = field(default_factory=NumpyKernel, compare=False)

    @property
    def spec(self) -> str:
        return str(self.stage)

    @property
    def bits(self) -> int:
        return self.stage.bits

    def encode(self, array: Array) -> EncodedTensor:
        """Args: array: (N, C, …) or any rank, float32, finite (else TensorContractError); never modified."""
        steps, parameters = self.to_steps(array)
        return EncodedTensor(pack_steps(steps, self.width).data, parameters)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return packed_bytes(element_count(shape), self.width)

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        count = element_count(shape)
        require_size(f"{self.spec} payload", len(encoded.payload), packed_bytes(count, self.width))
        return self.from_steps(unpack_steps(encoded.payload, self.width, count), encoded.parameters, shape)

    def to_steps(self, array: Array) -> tuple[Steps, bytes]:
        """Steps (n,) uint8 in row-major order, each below 2**bits, and the parameters. Errors as for `encode`."""
        source = contiguous_float32(array, self.spec)
        if self.static is not None and not self.static.fit(source.shape):
            raise TensorContractError(
                f"codec {self.spec} is calibrated for {self.static.channels} channels on axis 1, "
                f"this tensor is {source.shape}"
            )
        if source.size == 0:
            return np.empty(0, np.uint8), b""
        if self.static is not None:
            return self.kernel.steps(source, self.static, self.spec), b""
        scales = frame_scales(source, self.stage, self.spec)
        spread = scales.spread(source.shape)
        values = source / scales.scale.reshape(spread)
        # Add a half, and let the conversion drop the fraction: rounds without a pass of its own.
        values += (scales.zero_point + np.float32(0.5)).reshape(spread)
        return values.astype(np.uint8).reshape(-1), scales.to_bytes(self.stage.symmetric)

    def from_steps(self, steps: Steps, parameters: bytes, shape: tuple[int, ...]) -> Float32Array:
        """The inverse of `to_steps`; WireFormatError for steps or parameters that it can't have given."""
        if self.width > self.bits and steps.size and int(steps.max()) >> self.bits:
            raise WireFormatError(f"{self.spec} payload: a step has more than {self.bits} bits")
        scales = self._scales(parameters, shape, steps.size)
        if steps.size == 0:
            return np.empty(shape, np.float32)
        if self.static is not None and steps.size <= _SMALL:
            # Small tensors have short rows.
            scale, zero_point = expanded(scales, shape)
            values = steps.astype(np.float32)
        else:
            spread = scales.spread(shape)
            scale, zero_point = scales.scale.reshape(spread), scales.zero_point.reshape(spread)
            values = steps.reshape(shape).astype(np.float32)
        values -= zero_point
        if scales.largest <= LARGEST / 255:
            values *= scale
            return values.reshape(shape)
        # The outermost steps of such a channel reach past the largest float32.
        with np.errstate(over="ignore"):
            values *= scale
        return np.clip(values, -LARGEST, LARGEST, out=values).reshape(shape)

    def _scales(self, parameters: bytes, shape: tuple[int, ...], count: int) -> Scales:
        if self.static is not None:
            require_size(f"{self.spec} parameters", len(parameters), 0)
            if not self.static.fit(shape):
                raise WireFormatError(
                    f"codec {self.spec} is calibrated for {self.static.channels} channels on axis 1, not {shape}"
                )
            return self.static
        channels = element_count(channel_shape(shape, self.stage.per_channel)) if count else 0
        expected_bytes = channels * scale_bytes(self.stage.symmetric)
        require_size(f"{self.spec} parameters", len(parameters), expected_bytes)
        return read_scales(parameters, channels, self.stage, self.spec)


@dataclass(frozen=True)
class QuantisedFormat:
    """The stage: bits 2…8, and how scales are found."""

    bits: int
    per_channel: bool = True
    symmetric: bool = False
    digest: str | None = None

    def __str__(self) -> str:
        parts = [f"int{self.bits}"]
        if not self.per_channel:
            parts.append("tensor")
        if self.symmetric:
            parts.append("sym")
        if self.digest is not None:
            parts.append(f"static@{self.digest}")
        return ":".join(parts)

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        width = self.bits
        if context.entropy_follows:
            # Whole steps in a byte are what an entropy stage can see.
            width = next(aligned for aligned in (2, 4, 8) if aligned >= self.bits)
        codec = QuantisedCodec(self, width)
        if self.digest is None:
            return codec
        if context.calibrations is None:
            raise SpecError(f"codec {self}: there are no calibrations here to find {self.digest} in")
        ranges = context.calibrations.calibration(self.digest).of_tensor(context.tensor)
        if not isinstance(ranges, TensorCalibration):
            raise SpecError(
                f"codec {self}: calibration {self.digest} holds a transform, for klt; intN needs ranges"
            )
        return replace(codec, static=calibrated_scales(ranges, self), kernel=context.kernel or codec.kernel)


_ARGUMENTS = "known are channel, tensor, affine, sym and static@DIGEST, one of a kind"


@lru_cache(maxsize=64)
def _parse(stage: StageText) -> StageSpec:
    chosen: dict[str, str] = {}
    for argument in stage.arguments:
        name, at, digest = argument.partition("@")
        kind = {"channel": "axis", "tensor": "axis", "affine": "form", "sym": "form", "static": "scales"}.get(name)
        if kind is None or kind in chosen or (name == "static") != bool(at):
            raise stage.wrong(f"argument {argument!r} is not allowed here; {_ARGUMENTS}")
        if at and (len(digest) != DIGEST_CHARS or set(digest) - set("0123456789abcdef")):
            raise stage.wrong(f"{argument!r}: a calibration is named by {DIGEST_CHARS} lower-case hex digits")
        chosen[kind] = digest if at else name
    if "scales" in chosen and "axis" in chosen:
        raise stage.wrong("a calibration says itself whether it is per channel: leave channel or tensor out")
    return QuantisedFormat(
        bits=int(stage.name.removeprefix("int")),
        per_channel=chosen.get("axis") != "tensor",
        symmetric=chosen.get("form") == "sym",
        digest=chosen.get("scales"),
    )


KINDS = tuple(StageKind(f"int{bits}", Slot.FORMAT, f"int{bits}", _parse) for bits in (8, 7, 6, 5, 4, 3, 2))
