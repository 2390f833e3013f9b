"""What a coded image says of itself, read from its first bytes, before any image library sees it.

Only the plainest kind of each format is let through, which is all that encoders send: such a file needs no more
memory than its size in pixels, and no more time than its bytes.

    jpeg    one baseline scan of three components: no progressive file, none that goes over its pixels again
    png     8-bit RGB, not interlaced
    webp    one lossy picture: no extended file with a canvas, frames, alpha or metadata
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tercet.errors import WireFormatError

ImageSize = tuple[int, int]

_SEGMENT = struct.Struct(">BBH")
_FRAME_HEADER = struct.Struct(">BHHB")
_START_OF_SCAN = b"\xff\xda"
_SOI, _SOF0, _SOS = b"\xff\xd8", 0xC0, 0xDA
# Application data, tables, restart interval, comment; no other frame header.
_PLAIN_SEGMENTS = frozenset({*range(0xE0, 0xF0), 0xDB, 0xC4, 0xDD, 0xFE})
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_PNG_HEADER = struct.Struct(">IIBBBBB")
_WEBP = struct.Struct("<4sI4s4sI3s3sHH")
_WEBP_SIDE = 0x3FFF


def jpeg_size(data: bytes) -> ImageSize:
    """(width, height) in pixels; WireFormatError for anything but a plain baseline RGB JPEG."""
    if not data.startswith(_SOI):
        raise WireFormatError("not a JPEG file")
    size, offset = None, len(_SOI)
    while offset + _SEGMENT.size <= len(data):
        mark, kind, length = _SEGMENT.unpack_from(data, offset)
        if mark != 0xFF or length < 2 or offset + 2 + length > len(data):
            break
        if kind == _SOS:
            if size is None:
                raise WireFormatError("a JPEG file whose picture starts before its size")
            if _START_OF_SCAN in data[offset + 2 + length :]:
                raise WireFormatError("a JPEG file of several scans")
            return size
        if kind == _SOF0 and size is None and length >= 2 + _FRAME_HEADER.size:
            bits, height, width, components = _FRAME_HEADER.unpack_from(data, offset + _SEGMENT.size)
            if (bits, components) != (8, 3):
                raise WireFormatError(f"a JPEG file of {components} components with {bits} bits; RGB has 3 with 8")
            size = width, height
        elif kind not in _PLAIN_SEGMENTS:
            raise WireFormatError(f"a JPEG file with a segment {kind:#x}: not a baseline one")
        offset += 2 + length
    raise WireFormatError("a JPEG file that is truncated or garbled")


def png_size(data: bytes) -> ImageSize:
    """(width, height) in pixels; WireFormatError for anything but 8-bit RGB, not interlaced."""
    if not data.startswith(_PNG_START) or len(data) < len(_PNG_START) + _PNG_HEADER.size:
        raise WireFormatError("not a PNG file")
    width, height, bits, colour, _, _, interlaced = _PNG_HEADER.unpack_from(data, len(_PNG_START))
    if (bits, colour, interlaced) != (8, 2, 0):
        raise WireFormatError(f"a PNG file of colour type {colour} with {bits} bits; plain RGB is 2 with 8")
    return width, height


def webp_size(data: bytes) -> ImageSize:
    """(width, height) in pixels; WireFormatError for anything but one lossy picture."""
    if len(data) < _WEBP.size:
        raise WireFormatError("not a WebP file")
    riff, _, webp, chunk, _, tag, start, width, height = _WEBP.unpack_from(data)
    if (riff, webp) != (b"RIFF", b"WEBP"):
        raise WireFormatError("not a WebP file")
    if chunk != b"VP8 " or tag[0] & 1 or start != b"\x9d\x01\x2a":
        raise WireFormatError("a WebP file that is not one lossy picture")
    return width & _WEBP_SIDE, height & _WEBP_SIDE


IMAGE_SIZES: dict[str, Callable[[bytes], ImageSize]] = {"JPEG": jpeg_size, "PNG": png_size, "WEBP": webp_size}
