"""Every codec by its name; the only place that lists them."""

from __future__ import annotations

from collections.abc import Callable

from tercet.codecs.codec import Codec
from tercet.codecs.fp16 import Fp16Codec
from tercet.codecs.int8 import Int8Codec
from tercet.codecs.raw import RawCodec
from tercet.errors import SpecError

_CODECS: dict[str, Callable[[], Codec]] = {"raw": RawCodec, "fp16": Fp16Codec, "int8": Int8Codec}


def codec_names() -> tuple[str, ...]:
    return tuple(_CODECS)


def parse_codec(spec: str) -> Codec:
    """The codec a specification names; SpecError if there is none."""
    try:
        return _CODECS[spec]()
    except KeyError:
        raise SpecError(f"codec {spec!r} is unknown here; known are {', '.join(_CODECS)}") from None
