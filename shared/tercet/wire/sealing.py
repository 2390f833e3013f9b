"""The envelope of frames and answers: 16 bytes that make truncation and garbling detectable before parsing.

    offset  size  field
    0       4     magic: "TCF1" frame, "TCA1" answer (the digit is the version)
    4       4     header length in bytes, unsigned little-endian
    8       8     XXH3-64 (seed 0) of everything from offset 16, unsigned little-endian
    16      n     header: a protobuf message of protos/tercet/v1/frame.proto
    16+n    rest  payloads of the header's tensors, in order, without gaps

Payloads stay outside the protobuf so that receiving a tensor copies nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import xxhash

from tercet.errors import FrameTooLargeError, WireFormatError
from tercet.limits import MAX_FRAME_BYTES, MAX_HEADER_BYTES, MIB

FRAME_MAGIC = b"TCF1"
ANSWER_MAGIC = b"TCA1"

_SEAL = struct.Struct("<4sIQ")

Buffer = bytes | bytearray | memoryview


def seal(magic: bytes, header: bytes, payloads: Iterable[Buffer]) -> bytes:
    """Join header and payloads under a checksum; one copy of the payloads.

    Raises:
        FrameTooLargeError: the header is over MAX_HEADER_BYTES or the whole over MAX_FRAME_BYTES.
    """
    if len(header) > MAX_HEADER_BYTES:
        raise FrameTooLargeError(f"a header of {len(header)} bytes is over the {MAX_HEADER_BYTES} allowed")
    parts: list[Buffer] = [header, *payloads]
    total_bytes = _SEAL.size + sum(len(part) for part in parts)
    if total_bytes > MAX_FRAME_BYTES:
        raise FrameTooLargeError(
            f"a frame of {total_bytes / MIB:.1f} MiB is over the {MAX_FRAME_BYTES / MIB:.1f} MiB limit"
        )
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(part)
    return b"".join([_SEAL.pack(magic, len(header), digest.intdigest()), *parts])


def unseal(magic: bytes, sealed: Buffer) -> tuple[memoryview, memoryview]:
    """Split sealed bytes into header and payload area, without copying.

    Raises:
        WireFormatError: not ours, of another version, truncated, or the checksum differs.
        FrameTooLargeError: longer than any frame may be.
    """
    view = memoryview(sealed)
    if len(view) > MAX_FRAME_BYTES:
        raise FrameTooLargeError(
            f"received {len(view) / MIB:.1f} MiB in one frame; the limit is {MAX_FRAME_BYTES / MIB:.1f} MiB"
        )
    if len(view) < _SEAL.size:
        raise WireFormatError(f"{len(view)} bytes cannot be a frame: the seal alone has {_SEAL.size}")
    found, header_bytes, checksum = _SEAL.unpack_from(view)
    if found != magic:
        raise WireFormatError(f"starts with {found!r}, not {magic!r}: not a Tercet message, or another version")
    body = view[_SEAL.size :]
    if header_bytes > MAX_HEADER_BYTES or header_bytes > len(body):
        raise WireFormatError(f"header of {header_bytes} bytes claimed, {len(body)} received: truncated?")
    if xxhash.xxh3_64_intdigest(body) != checksum:
        raise WireFormatError("checksum differs: the message was truncated or garbled on its way")
    return body[:header_bytes], body[header_bytes:]


def split_payloads(area: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Cut the payload area into the payloads whose sizes the header claims; they must fill it exactly."""
    if sum(sizes) != len(area):
        raise WireFormatError(f"the header claims {sum(sizes)} payload bytes, {len(area)} are there")
    payloads, offset = [], 0
    for size in sizes:
        payloads.append(area[offset : offset + size])
        offset += size
    return payloads
