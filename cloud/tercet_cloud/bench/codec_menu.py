"""Which codecs the rate bench tries, and making those that need a calibration from the calibration photos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tercet.codecs import KnownCalibrations, calibrate, join_calibrations, parse_spec
from tercet.codecs.codec import Array, contiguous_float32
from tercet.errors import SpecError

# `static@METHOD` stands for a calibration to be made; "-" where the method has a ":", e.g. static@percentile-99.9.
DEFAULT_MENU = (
    "raw",
    "fp16",
    "int8",
    "int8+zstd",
    "int4+zstd:19",
    "int3+zstd:19",
    "int4:static@percentile-99.9+zstd:19",
    "int3:static@percentile-99.9+zstd:19",
    "int2:static@percentile-99.5+zstd:19",
    "top10%+fp16",
    "top10%+int8+zstd",
    "top25%+int8+zstd",
)
_METHOD = re.compile(r"static@([^+:]+)")
_DIGEST = re.compile(r"[0-9a-f]{12}")

Frames = Sequence[Mapping[str, Array]]


@dataclass(frozen=True)
class MenuEntry:
    """`title` is the codec as asked for, `spec` as it crosses the wire, `calibration` how its ranges were found."""

    title: str
    spec: str
    calibration: str | None = None


def check_menu(menu: Sequence[str]) -> None:
    """SpecError for a codec that can't be parsed, before anything is computed."""
    for title in menu:
        parse_spec(_METHOD.sub("static@" + "0" * 12, title))


def calibrated_entry(title: str, samples: Frames, known: KnownCalibrations) -> MenuEntry:
    """The menu's codec for one boundary; a calibration from `samples` is added to `known` if it needs one.

    Args:
        samples: tensors of the boundary by name, one mapping a frame.
    Raises:
        SpecError: an unknown method, or a digest, which no calibration made here can have.
    """
    asked = _METHOD.search(title)
    if asked is None:
        return MenuEntry(title, str(parse_spec(title)))
    method = asked[1].replace("-", ":")
    if _DIGEST.fullmatch(asked[1]):
        raise SpecError(f"codec {title}: name a method here, e.g. static@percentile-99.9; the bench calibrates")
    names = [name for name, array in samples[0].items() if array.dtype == "float32"]
    parts = [
        calibrate(
            [contiguous_float32(frame[name], title) for frame in samples],
            method=method,
            tensor=name,
            axis=1 if samples[0][name].ndim > 1 else None,
        )
        for name in names
    ]
    digest = known.add(join_calibrations(parts))
    return MenuEntry(title, str(parse_spec(_METHOD.sub(f"static@{digest}", title))), method)
