"""Ways to damage a sealed message: blindly, or with seal and checksum kept so that deeper layers meet it."""

from __future__ import annotations

import random
from collections.abc import Callable

from tercet.v1 import frame_pb2 as pb
from tercet.wire.sealing import seal, unseal

_INTERESTING = (0, 1, 2, 3, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)
_CODECS = (
    *("raw", "fp16", "bf16", "int8", "int4", "int2", "int3", "int8:tensor", "int4:sym", "int8:static@000000000000"),
    *("zstd:1", "top10%+int8", "thr0.05+fp16", "int8+zstd:3", "top1%+int4+zstd:3:shuffle", "raw+zstd"),
    *("jpeg:90", "webp:50", "png", "delta:30+int8", "raw+raw", "top200%", "int99", "☃"),
)

Mutation = Callable[[random.Random, bytes], bytes]


def mutate(source: random.Random, sealed: bytes) -> bytes:
    """One to three mutations of a sealed frame or answer."""
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        sealed = source.choice(_MUTATIONS)(source, sealed)
    return sealed


def _flip_bits(source: random.Random, sealed: bytes) -> bytes:
    damaged = bytearray(sealed)
    for _ in range(source.randint(1, 8)):
        if damaged:
            damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
    return bytes(damaged)


def _truncate(source: random.Random, sealed: bytes) -> bytes:
    return sealed[: source.randrange(len(sealed) + 1)]


def _splice(source: random.Random, sealed: bytes) -> bytes:
    at, length = source.randrange(len(sealed) + 1), source.randint(1, 40)
    return sealed[:at] + source.randbytes(length) + sealed[at + source.choice((0, length)) :]


def _reseal(source: random.Random, sealed: bytes) -> bytes:
    """Damage header or payload bytes and make the checksum right again."""
    parts = _parts(sealed)
    if parts is None:
        return sealed
    magic, header, payload = parts
    if source.random() < 0.5:
        header = source.choice((_flip_bits, _truncate, _splice))(source, header)
    else:
        payload = source.choice((_flip_bits, _truncate, _splice))(source, payload)
    return seal(magic, header, [payload])


def _change_header(source: random.Random, sealed: bytes) -> bytes:
    """Change one claim of the header; everything else stays right."""
    parts = _parts(sealed)
    if parts is None:
        return sealed
    magic, data, payload = parts
    header: pb.FrameHeader | pb.AnswerHeader = pb.FrameHeader() if magic == b"TCF1" else pb.AnswerHeader()
    try:
        header.ParseFromString(data)
    except Exception:
        return sealed
    if header.tensors:
        _change_tensor(source, source.choice(header.tensors))
        if source.random() < 0.1:
            header.tensors.append(header.tensors[0])
    return seal(magic, header.SerializeToString(), [payload])


def _change_tensor(source: random.Random, tensor: pb.TensorHeader) -> None:
    match source.randrange(6):
        case 0:
            tensor.dtype = source.randrange(12)  # type: ignore[assignment]
        case 1 if tensor.shape:
            tensor.shape[source.randrange(len(tensor.shape))] = source.choice(_INTERESTING)
        case 1 | 2:
            tensor.shape.append(source.choice(_INTERESTING))
        case 3:
            tensor.codec = source.choice(_CODECS)
        case 4:
            tensor.payload_bytes = source.choice((*_INTERESTING, max(0, tensor.payload_bytes - 1)))
        case _:
            damaged = _flip_bits(source, tensor.parameters) if tensor.parameters else b""
            tensor.parameters = source.choice((damaged, source.randbytes(source.randint(0, 64)), b""))


def _parts(sealed: bytes) -> tuple[bytes, bytes, bytes] | None:
    magic = sealed[:4]
    try:
        header, payload = unseal(magic, sealed)
    except Exception:
        return None
    return magic, bytes(header), bytes(payload)


_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip_bits, _truncate, _splice),
    *(_reseal, _reseal, _change_header, _change_header),
)
