"""The golden vectors of docs/wire.md: how they are made, on purpose only.

    python -m support.golden        (in tests/, with Tercet installed) writes tests/golden anew

Each vector is a file NAME.bin and an entry of golden.json that says what it means. A change of an existing file
is a change of the wire: clients in the field would break.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

from support.codecs import CALIBRATIONS, ONE_RANGE, THREE_CHANNELS
from tercet.codecs import CodecContext
from tercet.codecs.codec import Array
from tercet.errors import OverloadedError
from tercet.v1 import frame_pb2 as pb
from tercet.wire.messages import Answer, Frame
from tercet.wire.sealing import FRAME_MAGIC, seal

GOLDEN = Path(__file__).parents[1] / "golden"

# (2, 3, 3, 3): a sparse corner, channels of different sizes, an odd number of elements.
INPUT = (np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3) - 20) / np.float32(8)
INPUT[0, 0] = 0
INPUT[:, 2] *= 10

CODECS = (
    *("raw", "fp16", "bf16", "int8", "int7", "int6", "int5", "int4", "int3", "int2", "int8:tensor", "int4:sym"),
    *(f"int8:static@{THREE_CHANNELS.digest}", f"int3:static@{THREE_CHANNELS.digest}"),
    *(f"int4:sym:static@{ONE_RANGE.digest}", f"int5:static@{ONE_RANGE.digest}+zstd"),
    *("top10%+raw", "top60%+int8", "thr3.5+int4", "thr2+fp16", "thr300+int8"),
    *("int8+zstd", "int3+zstd:19", "int4+zstd:bitshuffle", "fp16+zstd:3:shuffle", "raw+zstd:shuffle"),
    "top20%+int8+zstd",
)


@dataclass(frozen=True)
class Vector:
    """`tensors`: what a receiver must get; `error`: what it says instead; `exact`: senders give these bytes."""

    name: str
    kind: str
    sealed: bytes
    tensors: dict[str, Array]
    exact: bool = True
    error: str = ""

    def describe(self) -> dict[str, Any]:
        """What golden.json says of this vector."""
        described: dict[str, Any] = {"file": f"{self.name}.bin", "kind": self.kind, "exact": self.exact}
        if self.error:
            return described | {"error": self.error}
        message = (Frame if self.kind == "frame" else Answer).open(self.sealed)
        return described | {
            "header": json_format.MessageToDict(message.header),
            "tensors": {
                name: {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.reshape(-1).tolist()}
                for name, array in self.tensors.items()
            },
        }


def frame_header() -> pb.FrameHeader:
    return pb.FrameHeader(
        model="tiny@0123456789ab",
        plan="plan-1",
        boundary=1,
        delivery=pb.DELIVERY_CLASS_REALTIME,
        node="camera-7",
        sequence=1 << 40,
        deadline_ms=250,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def encode_frame(spec: str, tensors: dict[str, Array] | None = None) -> Frame:
    return Frame.encode(
        frame_header(), {"x": INPUT} if tensors is None else tensors, spec, CodecContext(CALIBRATIONS)
    )


def make_vectors() -> list[Vector]:
    """Every vector, from scratch."""
    vectors = [_codec_vector(spec) for spec in CODECS]
    vectors.append(_frame_vector("frame-many-tensors", "int8", _many_tensors()))
    vectors.append(_frame_vector("frame-no-tensors", "raw", {}))
    vectors.extend([_answer_vector(), _refusal_vector(), _newer_vector()])
    vectors.extend(_bad_vectors())
    return vectors


def file_name(spec: str) -> str:
    """A codec's name as part of a file name; calibrations by what they are, not by their digest."""
    spec = spec.replace(ONE_RANGE.digest, "tensor").replace(THREE_CHANNELS.digest, "channel")
    return spec.replace("%", "").replace(":", "-").replace("@", "-").replace("+", "_")


def _codec_vector(spec: str) -> Vector:
    return _frame_vector(f"frame-{file_name(spec)}", spec, {"x": INPUT})


def _frame_vector(name: str, spec: str, tensors: dict[str, Array]) -> Vector:
    frame = encode_frame(spec, tensors)
    # Other versions of Zstandard may find other bytes for the same content.
    return Vector(name, "frame", frame.seal(), frame.decode(CodecContext(CALIBRATIONS)), exact="zstd" not in spec)


def _many_tensors() -> dict[str, Array]:
    return {
        "image": np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 2, 3),
        "mask": np.array([[True, False]]),
        "ids": np.array([1, -2, 1 << 40], np.int64),
        "scalar": np.array(0.5, np.float32),
        "empty": np.empty((0, 4), np.float32),
    }


def _answer_vector() -> Vector:
    answer = Answer.of_outputs(frame_header(), {"logits": np.array([[0.25, -1.5, 8]], np.float32)})
    answer.header.route.visits.add(
        tier=pb.TIER_EDGE, node="gateway-1", from_boundary=1, to_boundary=2, received_bytes=321, compute_us=1500
    )
    answer.header.route.degraded = True
    answer.header.route.reason = "the cloud did not answer in time"
    return Vector("answer", "answer", answer.seal(), answer.outputs())


def _refusal_vector() -> Vector:
    answer = Answer.of_error(frame_header(), OverloadedError("the queue is full", retry_after_s=0.5))
    return Vector("answer-refusal", "answer", answer.seal(), {})


def _newer_vector() -> Vector:
    """A frame of a newer version: a header field 1000, "new", that this version does not know."""
    header = encode_frame("raw").header.SerializeToString() + b"\xc2\x3e\x03new"
    sealed = seal(FRAME_MAGIC, header, [INPUT.tobytes()])
    return Vector("frame-newer-field", "frame", sealed, {"x": INPUT})


def _bad_vectors() -> list[Vector]:
    good = encode_frame("int8").seal()
    unknown = encode_frame("raw")
    unknown.header.tensors[0].codec = "wavelet:3"
    flipped = bytearray(good)
    flipped[-1] ^= 1
    bomb = encode_frame("raw+zstd", {"x": np.zeros(1 << 16, np.float32)})
    bomb.header.tensors[0].shape[0] = 54
    return [
        Vector("bad-flipped-bit", "frame", bytes(flipped), {}, error="WireFormatError"),
        Vector("bad-truncated", "frame", good[:-1], {}, error="WireFormatError"),
        Vector("bad-seal-only", "frame", good[:15], {}, error="WireFormatError"),
        Vector("bad-other-version", "frame", b"TCF2" + good[4:], {}, error="WireFormatError"),
        Vector("bad-unknown-codec", "frame", unknown.seal(), {}, error="SpecError"),
        Vector("bad-zstd-bomb", "frame", bomb.seal(), {}, error="WireFormatError"),
    ]


def write_vectors() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for old in GOLDEN.glob("*.bin"):
        old.unlink()
    vectors = make_vectors()
    for vector in vectors:
        (GOLDEN / f"{vector.name}.bin").write_bytes(vector.sealed)
    document: dict[str, Any] = {
        "about": "Sealed frames and answers and what they mean: docs/wire.md. Written by tests/support/golden.py.",
        "calibrations": {
            calibration.sha256: calibration.model_dump(mode="json") for calibration in (ONE_RANGE, THREE_CHANNELS)
        },
        "input": INPUT.reshape(-1).tolist(),
        "vectors": [vector.describe() for vector in vectors],
    }
    # A line a vector: short enough to read, and a change shows as one.
    vector_lines = ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in document.pop("vectors"))
    rest = json.dumps(document, ensure_ascii=False).removesuffix("}")
    (GOLDEN / "golden.json").write_text(f'{rest}, "vectors": [\n{vector_lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    write_vectors()
