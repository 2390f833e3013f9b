"""Every codec on every tensor of a frame, frame after frame: bytes on the wire, and times on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import numpy as np

from tercet.codecs import CodecContext, KnownCalibrations
from tercet.codecs.codec import Array
from tercet.codecs.spec import split_spec
from tercet.errors import ContractError
from tercet.inference.quantise_kernel import static_kernel
from tercet.models.card import ImageInput, ModelCard
from tercet.models.store import Store
from tercet.v1 import frame_pb2 as pb
from tercet.wire.tensors import decode_tensors, encode_tensors
from tercet_cloud.measurement.codec_menu import METHOD
from tercet_cloud.planner.coding_table import MenuCodec, TensorCoding

# A thorough entropy coder takes over a tenth of a second for larger tensors; no plan would wait for that.
_THOROUGH_LEVEL, _THOROUGH_MOST_BYTES = 10, 2 << 20


def codec_context(store: Store, card: ModelCard | None, codecs: Sequence[MenuCodec]) -> CodecContext:
    """What a tier has for these codecs, each calibration read once. NotFoundError for one that is not there."""
    digests = {found[1] for codec in codecs if (found := METHOD.search(codec.spec))}
    calibrations = KnownCalibrations(store.calibration(digest) for digest in sorted(digests))
    image = card.input if card and isinstance(card.input, ImageInput) else None
    # As the tiers have it: static quantisation by the faster kernel.
    return CodecContext(calibrations, image=image, kernel=static_kernel())


@dataclass
class _Trials:
    """One tensor under one codec, over the frames so far."""

    sizes_bytes: list[int] = field(default_factory=list)
    encode_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)

    def summary(self) -> TensorCoding:
        # The first of several frames pays for tables that are made when first needed.
        return TensorCoding(
            bytes=round(fmean(self.sizes_bytes), 1),
            encode_ms=round(median(self.encode_s[1:] or self.encode_s) * 1000, 4),
            decode_ms=round(median(self.decode_s[1:] or self.decode_s) * 1000, 4),
        )


class CodingBench:
    """Codes frame after frame. What a codec refused once is not tried again.

    Args:
        context: what the codecs need.
        image: the card's input, the one tensor that image codecs are for.
    """

    def __init__(self, codecs: Sequence[MenuCodec], context: CodecContext, image: ImageInput | None) -> None:
        self.frames = 0
        self._codecs = codecs
        self._context = context
        self._image = image
        self._trials: dict[str, list[_Trials | None]] = {}

    def code(self, tensors: Mapping[str, Array]) -> None:
        """Code every tensor of a frame by every codec, and decode it."""
        self.frames += 1
        if self.frames > 1:
            # What is not there in every frame cannot cross.
            self._trials = {name: trials for name, trials in self._trials.items() if name in tensors}
        for name, array in tensors.items():
            if self.frames == 1:
                self._trials[name] = [
                    _Trials() if self._fits(codec, name, array) else None for codec in self._codecs
                ]
            elif name not in self._trials:
                continue
            self._code_tensor(name, array, self._trials[name])

    def table(self) -> dict[str, tuple[TensorCoding | None, ...]]:
        """By tensor that was in all frames, one entry a codec."""
        return {
            name: tuple(trial.summary() if trial else None for trial in trials)
            for name, trials in self._trials.items()
        }

    def _fits(self, codec: MenuCodec, name: str, array: Array) -> bool:
        if codec.image:
            return self._image is not None and name == self._image.tensor
        return not (array.nbytes > _THOROUGH_MOST_BYTES and _entropy_level(codec.spec) >= _THOROUGH_LEVEL)

    def _code_tensor(self, name: str, array: Array, trials: list[_Trials | None]) -> None:
        same_for_all: _Trials | None = None
        for index, (codec, trial) in enumerate(zip(self._codecs, trials, strict=True)):
            if trial is None:
                continue
            if array.dtype != np.float32 and same_for_all is not None:
                trials[index] = same_for_all  # raw, whatever the codec
                continue
            try:
                size_bytes, encode_s, decode_s = _round_trip(name, array, codec.spec, self._context)
            except ContractError:
                trials[index] = None
                continue
            trial.sizes_bytes.append(size_bytes)
            trial.encode_s.append(encode_s)
            trial.decode_s.append(decode_s)
            same_for_all = trial


def _round_trip(name: str, array: Array, spec: str, context: CodecContext) -> tuple[int, float, float]:
    """Bytes with the tensor's header, seconds to encode, seconds to decode."""
    begun = _now()
    headers, payloads = encode_tensors({name: array}, spec, context)
    coded = _now()
    decode_tensors(headers, [memoryview(payload) for payload in payloads], context)
    done = _now()
    size_bytes = sum(len(payload) for payload in payloads) + pb.FrameHeader(tensors=headers).ByteSize()
    return size_bytes, _spent_s(begun, coded), _spent_s(coded, done)


def _now() -> tuple[float, float]:
    """Wall and processor time, seconds."""
    return time.perf_counter(), time.process_time()


def _spent_s(begun: tuple[float, float], done: tuple[float, float]) -> float:
    """The smaller of both: waiting for a processor that others use does not count, nor work done side by side."""
    return min(later - earlier for earlier, later in zip(begun, done, strict=True))


def _entropy_level(spec: str) -> int:
    arguments = [stage.arguments for stage in split_spec(spec) if stage.name == "zstd"]
    return max((int(argument) for found in arguments for argument in found if argument.isdecimal()), default=0)
