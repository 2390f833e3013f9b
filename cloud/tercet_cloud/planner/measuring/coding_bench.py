"""Every codec on every tensor of a frame, frame after frame: bytes on the wire, and times on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from tercet_cloud.planner.measuring.coding_table import MenuCodec, TensorCoding

# How often coding is timed right after computing, and about how long that may take in all.
_LEAST_COLD, _MOST_COLD, _COLD_S = 3, 9, 3.0
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

    def times_s(self) -> tuple[float, float]:
        """To encode and to decode. The first of several frames pays for tables that are made when first needed."""
        return median(self.encode_s[1:] or self.encode_s), median(self.decode_s[1:] or self.decode_s)

    def summary(self, more_s: tuple[float, float]) -> TensorCoding:
        encode_s, decode_s = self.times_s()
        return TensorCoding(
            bytes=round(fmean(self.sizes_bytes), 1),
            encode_ms=round((encode_s + more_s[0]) * 1000, 4),
            decode_ms=round((decode_s + more_s[1]) * 1000, 4),
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
        # By codec, of encoding and decoding: what they take longer right after computing.
        self._cold_s = [(0.0, 0.0)] * len(codecs)

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
        return {name: self._entries(trials) for name, trials in self._trials.items()}

    def _entries(self, trials: Sequence[_Trials | None]) -> tuple[TensorCoding | None, ...]:
        # Codecs share a trial where the first of them codes for all.
        first = {id(trial): index for index, trial in reversed(list(enumerate(trials)))}
        return tuple(trial.summary(self._cold_s[first[id(trial)]]) if trial else None for trial in trials)

    def code_cold(self, tensors: Mapping[str, Array], compute: Callable[[], object]) -> None:
        """Find out what each codec takes longer for a frame that has just been computed than in a loop of coding.

        In a loop a codec's code and tables are in the processor's caches; between two frames the network was. The
        difference hardly hangs on the tensor, so it is measured on a small one and counts for all.

        Args:
            tensors: of a frame that was coded; call it after the last one.
            compute: computes the network once.
        """
        began_s = time.perf_counter()
        compute()
        runs = 2 * len(self._codecs) * (time.perf_counter() - began_s)
        repeats = max(_LEAST_COLD, min(_MOST_COLD, int(_COLD_S / runs)))
        for index, codec in enumerate(self._codecs):
            known = [
                (tensors[name].nbytes, name, trial)
                for name, trials in self._trials.items()
                if (trial := trials[index]) is not None and (codec.image or tensors[name].dtype == np.float32)
            ]
            if known:
                _, name, trial = min(known, key=lambda item: item[:2])
                warm_s = trial.times_s()
                cold_s = _cold_times_s(name, tensors[name], codec.spec, self._context, compute, repeats)
                self._cold_s[index] = (max(0.0, cold_s[0] - warm_s[0]), max(0.0, cold_s[1] - warm_s[1]))

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


def _cold_times_s(
    name: str, array: Array, spec: str, context: CodecContext, compute: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds to encode, and to decode, each right after computing."""
    encode_s, decode_s = [], []
    for _ in range(repeats):
        compute()
        begun_s = time.perf_counter()
        headers, payloads = encode_tensors({name: array}, spec, context)
        encode_s.append(time.perf_counter() - begun_s)
        compute()
        begun_s = time.perf_counter()
        decode_tensors(headers, [memoryview(payload) for payload in payloads], context)
        decode_s.append(time.perf_counter() - begun_s)
    return median(encode_s), median(decode_s)


def _entropy_level(spec: str) -> int:
    arguments = [stage.arguments for stage in split_spec(spec) if stage.name == "zstd"]
    return max((int(argument) for found in arguments for argument in found if argument.isdecimal()), default=0)
