"""Quantising a frame with the scales of an earlier one, so that only what changed of them crosses the link.

Where intN finds scales in every frame, equal values would have other steps in the next frame, and no difference of
steps would be small. So a channel keeps its scale and zero point for as long as its values fit them.

    kept         what leaves the old range by at most a step is clipped to it, and the old step is at most twice
                 what the channel's own would be: |x - decoded| <= 2 * scale where clipped, else scale / 2
    renewed      all others: scales and zero points as in a frame of its own

Wire: a bitmap of the renewed channels (bit c % 8, the lowest first, of byte c // 8), their scales, then their zero
points.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tercet.codecs.codec import Array, contiguous_float32, element_count, require_size
from tercet.codecs.packing import Steps
from tercet.codecs.quantised import QuantisedCodec
from tercet.codecs.scales import Scales, channel_shape, frame_scales, read_scales, scale_bytes
from tercet.errors import WireFormatError

# Steps by which values may leave the range of kept scales.
_OVERSHOOT = np.float32(1)
# How much coarser than its own a channel's kept scale may be.
_COARSER = np.float32(2)


def steps_with_kept_scales(codec: QuantisedCodec, array: Array, earlier: bytes) -> tuple[Steps, bytes]:
    """`codec.to_steps`, with the scales of `earlier` parameters of a tensor of that shape where they fit.

    Returns steps (n,) uint8 and whole parameters, as `codec.from_steps` takes them. Errors as for `encode`.
    """
    if codec.static is not None or array.size == 0:
        return codec.to_steps(array)
    source = contiguous_float32(array, codec.spec)
    own = frame_scales(source, codec.stage, codec.spec)
    kept = read_scales(earlier, own.channels, codec.stage, codec.spec)
    fits = _fits(own, kept)
    scales = Scales(
        np.where(fits, kept.scale, own.scale),
        np.where(fits, kept.zero_point, own.zero_point),
        own.per_channel,
        own.lowest,
        own.highest,
    )
    spread = scales.spread(source.shape)
    values = source / scales.scale.reshape(spread)
    values += scales.zero_point.reshape(spread)
    steps = np.clip(np.rint(values), scales.lowest, scales.highest).astype(np.uint8)
    return steps.reshape(-1), scales.to_bytes(codec.stage.symmetric)


def _fits(own: Scales, kept: Scales) -> npt.NDArray[np.bool_]:
    """(C,) bool: which channels may keep their scales."""
    top = np.float32(own.highest)
    with np.errstate(over="ignore"):
        below = own.zero_point * (own.scale / kept.scale) - kept.zero_point
        above = (top - own.zero_point) * (own.scale / kept.scale) - (top - kept.zero_point)
        close = kept.scale <= own.scale * _COARSER
    fits: npt.NDArray[np.bool_] = (below <= _OVERSHOOT) & (above <= _OVERSHOOT) & close
    return fits


def near_steps(
    codec: QuantisedCodec, array: Array, parameters: bytes, steps: Steps, hold: float
) -> npt.NDArray[np.bool_]:
    """(n,) bool: which of `steps` are within hold + 1/2 of the values of `array`, on the scales of `parameters`."""
    source = contiguous_float32(array, codec.spec)
    channels = element_count(channel_shape(source.shape, codec.stage.per_channel))
    scales = codec.static or read_scales(parameters, channels, codec.stage, codec.spec)
    spread = scales.spread(source.shape)
    with np.errstate(over="ignore"):
        distance = source / scales.scale.reshape(spread)
    distance += scales.zero_point.reshape(spread)
    near: npt.NDArray[np.bool_] = np.abs(distance.reshape(-1) - steps) <= np.float32(hold + 0.5)
    return near


def renewed_channels(codec: QuantisedCodec, parameters: bytes, earlier: bytes) -> npt.NDArray[np.bool_]:
    """(C,) bool: which channels have not the scales of `earlier`; none where there are no parameters."""
    new, old = _split(codec, parameters), _split(codec, earlier)
    renewed: npt.NDArray[np.bool_] = (new[0] != old[0]).any(axis=1) | (new[1] != old[1]).any(axis=1)
    return renewed


def changed_scales(codec: QuantisedCodec, parameters: bytes, earlier: bytes) -> bytes:
    """What of `parameters` is not as in `earlier`, which is of the same length."""
    if not parameters:
        return b""
    new, renewed = _split(codec, parameters), renewed_channels(codec, parameters, earlier)
    return b"".join(
        [np.packbits(renewed, bitorder="little").tobytes(), new[0][renewed].tobytes(), new[1][renewed].tobytes()]
    )


def with_changed_scales(codec: QuantisedCodec, changed: bytes, earlier: bytes) -> bytes:
    """Whole parameters: `earlier`, with what `changed_scales` gave. WireFormatError if that can't be."""
    if not earlier:
        require_size(f"changed scales of {codec.spec}", len(changed), 0)
        return b""
    scales, zero_points = (part.copy() for part in _split(codec, earlier))
    bitmap_bytes = (len(scales) + 7) // 8
    if len(changed) < bitmap_bytes:
        raise WireFormatError(f"changed scales of {codec.spec}: {len(changed)} bytes are less than a bitmap")
    bitmap = np.frombuffer(changed, np.uint8, bitmap_bytes)
    renewed = np.unpackbits(bitmap, count=len(scales), bitorder="little").astype(np.bool_)
    count = int(np.count_nonzero(renewed))
    width = scale_bytes(codec.stage.symmetric)
    require_size(f"changed scales of {codec.spec}", len(changed), bitmap_bytes + count * width)
    octets = np.frombuffer(changed, np.uint8, offset=bitmap_bytes)
    scales[renewed] = octets[: 4 * count].reshape(count, 4)
    zero_points[renewed] = octets[4 * count :].reshape(count, width - 4)
    return scales.tobytes() + zero_points.tobytes()


def _split(codec: QuantisedCodec, parameters: bytes) -> tuple[Steps, Steps]:
    """(C, 4) and (C, 1 or 0) uint8: the bytes of scales and of zero points."""
    width = scale_bytes(codec.stage.symmetric)
    octets, channels = np.frombuffer(parameters, np.uint8), len(parameters) // width
    return octets[: 4 * channels].reshape(channels, 4), octets[4 * channels :].reshape(channels, width - 4)
