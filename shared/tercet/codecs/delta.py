"""`delta:K`: the difference of intN steps from those of an earlier frame, which is small where little moves.

    delta:30+int8:static@0123456789ab+zstd:3      a key frame at least every 30 frames
    delta:30+int4+zstd                            scales of each frame: see `kept_scales`
    delta:30:hold0.5+int4+zstd                    steps stay until a value is a whole step off: noise is not sent

A key tensor is what the codec without delta gives. A delta tensor holds (step - reference's step) modulo 2**bits in
place of steps, names its reference by sequence number, and proves it by a hash of its steps and scales. The
codec itself remembers nothing: `Exchange` brings references in and takes the new one out, and `tercet.wire.streams`
keeps them. Without one, this codec makes key tensors and reads only those. It
makes a tensor smaller only for an entropy stage after it.

    parameters    kind (1: 0 key, 1 delta)
                  key: the parameters of intN
                  delta: sequence number of the reference (8), XXH3-64 (8) of its parameters, then its steps, one
                  a byte; then the scales that changed (see `kept_scales`; nothing for static scales)
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xxhash

from tercet.codecs.codec import Array, Codec, EncodedTensor, element_count, require_size
from tercet.codecs.kept_scales import (
    changed_scales,
    near_steps,
    renewed_channels,
    steps_with_kept_scales,
    with_changed_scales,
)
from tercet.codecs.packing import Steps, pack_steps, packed_bytes, unpack_steps
from tercet.codecs.quantised import QuantisedCodec
from tercet.codecs.spec import StageText, format_decimal, parse_decimal
from tercet.codecs.stage import BuildContext, CodecSpec, Slot, StageKind, StageSpec
from tercet.errors import SpecError, StaleReferenceError, WireFormatError

MAX_KEY_INTERVAL = 10_000
MAX_HOLD = 99
_KEY, _DELTA = 0, 1
_DELTA_HEAD = struct.Struct("<BQQ")


def encode_delta(current: Steps, reference: Steps, bits: int) -> Steps:
    """(current - reference) modulo 2**bits; all (n,) uint8, below 2**bits."""
    difference: Steps = np.subtract(current, reference)  # wraps around at 256, a multiple of 2**bits
    return difference if bits == 8 else difference & np.uint8(2**bits - 1)


def decode_delta(difference: Steps, reference: Steps, bits: int) -> Steps:
    """The inverse: `current`."""
    current: Steps = np.add(difference, reference)
    return current if bits == 8 else current & np.uint8(2**bits - 1)


@dataclass(frozen=True, eq=False)
class StepTensor:
    """A tensor as steps: what later tensors may differ from.

    `spec` is the intN that made it; `steps` (n,) uint8 are its own and never changed; `parameters` those of intN.
    """

    spec: str
    shape: tuple[int, ...]
    steps: Steps = field(repr=False)
    parameters: bytes = field(repr=False)

    @cached_property
    def digest(self) -> int:
        """XXH3-64 of parameters and steps."""
        digest = xxhash.xxh3_64(self.parameters)
        digest.update(self.steps.data)
        return digest.intdigest()

    @property
    def size_bytes(self) -> int:
        return self.steps.nbytes + len(self.parameters)

    def is_like(self, spec: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of `shape` that `spec` codes may differ from this one."""
        return (self.spec, self.shape) == (spec, shape)


@dataclass
class Exchange:
    """What one tensor may refer to, and, once it is coded or decoded, what it is itself.

    `references` by sequence number; an encoder uses the newest.
    """

    references: Mapping[int, StepTensor] = field(default_factory=dict)
    tensor: StepTensor | None = None


@dataclass(frozen=True)
class DeltaCodec:
    """Exact (tested): decodes to what `inner` makes of the same steps and scales, or raises StaleReferenceError.

    With static scales, and for key tensors, that is what `inner` itself decodes to. With scales of each frame, a
    delta tensor keeps earlier scales where they fit: see `kept_scales` for the bound. With holdH, a step
    stays as long as its value is within H + 1/2 steps of it: |x - decoded| <= (H + 1/2) * scale. Errors never add
    up, because every frame is held against its own values (tested).
    """

    inner: QuantisedCodec
    stage: DeltaStage
    exchange: Exchange | None = field(default=None, compare=False)

    @property
    def spec(self) -> str:
        return f"{self.stage}+{self.inner.spec}"

    def encode(self, array: Array) -> EncodedTensor:
        """A delta tensor if the exchange has a reference of this shape, else a key tensor. Errors as for intN."""
        references = self.exchange.references if self.exchange else {}
        sequence = max(references, default=0)
        reference = references.get(sequence)
        if reference is None or not reference.is_like(self.inner.spec, array.shape):
            steps, parameters = self.inner.to_steps(array)
            head, sent = bytes([_KEY]) + parameters, steps
        else:
            steps, parameters = steps_with_kept_scales(self.inner, array, reference.parameters)
            steps = self._held(array, steps, parameters, reference)
            head = _DELTA_HEAD.pack(_DELTA, sequence, reference.digest)
            head += changed_scales(self.inner, parameters, reference.parameters)
            sent = encode_delta(steps, reference.steps, self.inner.bits)
        if self.exchange:
            self.exchange.tensor = StepTensor(self.inner.spec, array.shape, steps, parameters)
        return EncodedTensor(pack_steps(sent, self.inner.width).data, head)

    def max_payload_bytes(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> int:
        return self.inner.max_payload_bytes(dtype, shape)

    def decode(self, encoded: EncodedTensor, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """Raises StaleReferenceError unless the very reference that the sender used is in the exchange."""
        count, parameters = element_count(shape), encoded.parameters
        require_size(f"{self.spec} payload", len(encoded.payload), packed_bytes(count, self.inner.width))
        steps = unpack_steps(encoded.payload, self.inner.width, count)
        if parameters[:1] == bytes([_KEY]):
            parameters = parameters[1:]
            if self.exchange:
                # A reference must not keep a whole received frame alive.
                steps = steps.copy()
        elif parameters[:1] == bytes([_DELTA]) and len(parameters) >= _DELTA_HEAD.size:
            if self.inner.width > self.inner.bits and count and int(steps.max()) >> self.inner.bits:
                raise WireFormatError(f"{self.spec} payload: a difference has more than {self.inner.bits} bits")
            reference = self._find(parameters, shape)
            parameters = with_changed_scales(self.inner, parameters[_DELTA_HEAD.size :], reference.parameters)
            steps = decode_delta(steps, reference.steps, self.inner.bits)
        else:
            raise WireFormatError(f"{self.spec} parameters: neither those of a key tensor nor of a delta tensor")
        array = self.inner.from_steps(steps, parameters, shape)
        if self.exchange:
            self.exchange.tensor = StepTensor(self.inner.spec, shape, steps, parameters)
        return array

    def _held(self, array: Array, steps: Steps, parameters: bytes, reference: StepTensor) -> Steps:
        """`steps` of `array`, with the reference's own where they are near enough."""
        if not self.stage.hold or not steps.size:
            return steps
        held = near_steps(self.inner, array, parameters, reference.steps, self.stage.hold)
        renewed = renewed_channels(self.inner, parameters, reference.parameters)
        if renewed.any():
            # Steps of other scales mean other values.
            spread = [-1 if axis == 1 else 1 for axis in range(len(reference.shape))] if renewed.size > 1 else [1]
            held &= ~np.broadcast_to(renewed.reshape(spread), reference.shape).reshape(-1)
        return np.where(held, reference.steps, steps)

    def _find(self, parameters: bytes, shape: tuple[int, ...]) -> StepTensor:
        _, sequence, digest = _DELTA_HEAD.unpack_from(parameters)
        reference = self.exchange.references.get(sequence) if self.exchange else None
        if reference is None or not reference.is_like(self.inner.spec, shape) or reference.digest != digest:
            what = "is not held here" if reference is None else "is another one here"
            raise StaleReferenceError(f"frame {sequence}, which this frame differs from, {what}: send a key frame")
        return reference


def bind_exchange(codec: Codec, exchange: Exchange) -> Codec:
    """`codec` with references for its delta stage; unchanged if it has none.

    Every stage around another codec is a dataclass that holds it as `inner`.
    """
    if isinstance(codec, DeltaCodec):
        return replace(codec, exchange=exchange)
    outer: Any = codec
    inner = getattr(outer, "inner", None)
    if inner is None:
        return codec
    bound: Codec = replace(outer, inner=bind_exchange(inner, exchange))
    return bound


def key_interval(spec: CodecSpec) -> int | None:
    """How often a key frame comes at least; None for a codec without delta."""
    return next((stage.key_interval for _, stage in spec.stages if isinstance(stage, DeltaStage)), None)


def is_delta_tensor(parameters: bytes) -> bool:
    """Whether parameters that this codec made are those of a delta tensor."""
    return parameters[:1] == bytes([_DELTA])


@dataclass(frozen=True)
class DeltaStage:
    """The stage: at least every `key_interval`th frame is a key frame; `hold` in steps, 0 for none."""

    key_interval: int
    hold: float = 0

    def __str__(self) -> str:
        return f"delta:{self.key_interval}" + (f":hold{format_decimal(self.hold)}" if self.hold else "")

    def build(self, inner: Codec | None, context: BuildContext) -> Codec:
        if not isinstance(inner, QuantisedCodec):
            raise SpecError(f"codec stage {str(self)!r} codes differences of intN steps; write e.g. {self}+int8")
        return DeltaCodec(inner, self)


def _parse(stage: StageText) -> StageSpec:
    interval, *more = stage.arguments or ("",)
    hold = parse_decimal(more[0].removeprefix("hold")) if more and more[0].startswith("hold") else None
    if (
        not re.fullmatch("[1-9][0-9]{0,4}", interval)
        or not 2 <= int(interval) <= MAX_KEY_INTERVAL
        or len(more) > 1
        or (more and not (hold and hold <= MAX_HOLD))
    ):
        raise stage.wrong(
            f"write delta, how often a key frame comes (2 to {MAX_KEY_INTERVAL}), and, to leave out small moves, "
            f"hold and up to {MAX_HOLD} steps, e.g. delta:30 or delta:30:hold0.5"
        )
    return DeltaStage(int(interval), hold or 0)


KIND = StageKind("delta:30", Slot.TEMPORAL, "delta", _parse, before="int[2-8]")
