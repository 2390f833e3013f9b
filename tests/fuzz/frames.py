"""The fuzzer: seeds, mutates, opens, decodes; any exception but a TercetError is a finding.

    python -m fuzz.frames --count 1000000 --seed 1

Exit status 0 if nothing was found. A finding is written to tests/fuzz/corpus/ and, once mended, stays there.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import FrameType

import numpy as np
from rich.progress import Progress

from fuzz.mutation import mutate
from tercet.codecs import CodecContext, KnownCalibrations, calibrate
from tercet.codecs.codec import Array
from tercet.codecs.transform_fit import fit_transform
from tercet.errors import TercetError
from tercet.models.card import ImageInput
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.streams import StreamReceiver

CORPUS = Path(__file__).parent / "corpus"
GOLDEN = Path(__file__).parents[1] / "golden"
HANG_S = 10
MAX_GROWTH_MIB = 512
BATCH = 1000

SHAPE = (1, 3, 4, 4)
PHOTO = ImageInput(tensor="a", size=4, resize_shorter=4, mean=(127, 127, 127), std=(128, 128, 128))
_SAMPLES = [np.random.default_rng(place).standard_normal(SHAPE).astype(np.float32) for place in range(4)]
_KNOWN = KnownCalibrations()
_RANGES = _KNOWN.add(calibrate(_SAMPLES, tensor="a"))
_TRANSFORM = _KNOWN.add(fit_transform(_SAMPLES, tensor="a"))
CONTEXT = CodecContext(_KNOWN, PHOTO)

SEED_CODECS = (
    *("raw", "fp16", "bf16", "int8", "int8:tensor", "int5:sym", "int4", "int2"),
    *(
        "raw+zstd",
        "int8+zstd:3",
        "int4+zstd:3:shuffle",
        "fp16+zstd:1:bitshuffle",
        "top10%+int8",
        "top30%+int4+zstd",
    ),
    *("thr0.5+fp16", "delta:30+int8+zstd"),
)
# These know the one tensor that they were made for.
STATIC_CODECS = (
    *(f"int8:static@{_RANGES}", f"int3:static@{_RANGES}+zstd", f"delta:9+int4:static@{_RANGES}+zstd"),
    *(f"klt:8:static@{_TRANSFORM}", f"klt:40:static@{_TRANSFORM}", "png", "jpeg:90", "webp:50"),
)


# As edge and cloud have it: remembers references, so that delta frames find them or are refused.
RECEIVER = StreamReceiver()


@dataclass
class Findings:
    """What a run met: errors by class, and messages that broke a promise."""

    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def seeds() -> list[bytes]:
    """Sound messages: every codec over several shapes, the golden vectors, and what was found before."""
    source = np.random.default_rng(7)
    shapes: tuple[tuple[int, ...], ...] = (SHAPE, (2, 5), (0, 4), ())
    messages = []
    for codec in SEED_CODECS:
        for shape in shapes:
            array = np.asarray(source.standard_normal(shape), np.float32)
            tensors: dict[str, Array] = {"a": array, "indices": np.arange(3)}
            messages.append(Frame.encode(_header(), tensors, codec).seal())
    photo = (source.integers(0, 256, SHAPE).astype(np.float32) - 127) / 128
    for codec in STATIC_CODECS:
        for array in (photo, photo * 8):
            if array is photo or "static" in codec:
                messages.append(Frame.encode(_header(), {"a": array}, codec, CONTEXT).seal())
    messages.append(Answer.of_outputs(pb.FrameHeader(node="n"), {"y": np.ones((1, 9), np.float32)}).seal())
    messages.append(Answer.of_error(pb.FrameHeader(node="n"), TercetError("no")).seal())
    for folder in (GOLDEN, CORPUS):
        messages.extend(path.read_bytes() for path in sorted(folder.glob("*.bin")))
    return messages


def _header() -> pb.FrameHeader:
    return pb.FrameHeader(model="m@0123456789ab", plan="p", boundary=1, node="n", sequence=5)


def receive(message: bytes) -> None:
    """What a tier does with bytes from a peer. Raises TercetError, or gives tensors of the claimed shapes."""
    if message[:4] == b"TCA1":
        answer = Answer.open(message)
        answer.outputs()
        return
    frame = Frame.open(message)
    for header, array in zip(frame.header.tensors, RECEIVER.decode(frame, CONTEXT).values(), strict=True):
        if array.shape != tuple(header.shape):
            raise AssertionError(f"claimed {tuple(header.shape)}, decoded {array.shape}")


def fuzz(count: int, seed: int, progress: Progress | None = None) -> Findings:
    """Receive `count` mutated messages. Repeatable: the same seed gives the same messages."""
    source = random.Random(seed)
    found = Findings()
    sound = seeds()
    for message in sound:
        receive_checked(message, found)
    before_mib = _peak_rss_mib()
    task = progress.add_task("mutated frames", total=count) if progress else None
    previous = signal.signal(signal.SIGALRM, _on_hang)
    try:
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            signal.alarm(HANG_S)
            for _ in range(size):
                receive_checked(mutate(source, source.choice(sound)), found)
            if progress and task is not None:
                progress.advance(task, size)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    growth_mib = _peak_rss_mib() - before_mib
    if growth_mib > MAX_GROWTH_MIB:
        found.broken.append(f"memory grew by {growth_mib:.0f} MiB; {MAX_GROWTH_MIB} is the bound")
    return found


def receive_checked(message: bytes, found: Findings) -> None:
    try:
        receive(message)
        found.outcomes["decoded"] += 1
    except TercetError as error:
        found.outcomes[type(error).__name__] += 1
    except Exception as error:
        path = CORPUS / f"{sha256(message).hexdigest()[:16]}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(message)
        found.broken.append(f"{type(error).__name__}: {error} ({path.name})")


def _on_hang(number: int, frame: FrameType | None) -> None:
    raise AssertionError(f"{BATCH} frames took more than {HANG_S} s")


def _peak_rss_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with Progress(transient=True) as progress:
        found = fuzz(options.count, options.seed, progress)
    for outcome, times in found.outcomes.most_common():
        print(f"{times:>9,}  {outcome}")
    for broken in found.broken[:20]:
        print(f"BROKEN  {broken}")
    print(f"{options.count:,} mutated frames, seed {options.seed}: {len(found.broken)} findings")
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
