"""Which codecs the rate bench tries; making those that need a calibration from the calibration photos."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tercet.codecs import Calibration, calibrate, join_calibrations, parse_spec
from tercet.codecs.codec import contiguous_float32
from tercet.codecs.transform_fit import fit_transform
from tercet.errors import SpecError
from tercet.models.store import Store
from tercet_cloud.measurement.split_runner import Frame

# `static@METHOD` stands for a calibration to be made: a method of `tercet.codecs.ranges` with "-" where it has ":"
# (for one range in all with "tensor-" before it), `transform`, or `transform-weighted` by importance.
DEFAULT_MENU = (
    "raw",
    "fp16",
    "int8",
    "int8+zstd",
    "int4+zstd:19",
    "int3+zstd:19",
    "int4:static@percentile-99.9+zstd:19",
    "int3:static@percentile-99.9+zstd:19",
    "int4:sym:static@tensor-rms-5.6+zstd:19",
    *(f"klt:{quality}:static@transform-weighted" for quality in (8, 6, 5, 4, 2, 1, 0)),
    "top10%+fp16",
    "top10%+int8+zstd",
    "top25%+int8+zstd",
)
# At boundary 0: what sending the photo itself costs.
IMAGE_BASELINES = (
    "png",
    *(f"jpeg:{quality}" for quality in (95, 85, 75, 50, 25, 10)),
    *(f"webp:{quality}" for quality in (90, 75, 50, 25, 5)),
)
METHOD = re.compile(r"static@([^+:]+)")
_DIGEST = re.compile(r"[0-9a-f]{12}")

Importance = Callable[[str], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]


@dataclass(frozen=True)
class MenuEntry:
    """`title` is the codec as asked for, `spec` as it crosses the wire, `calibration` how that was found."""

    title: str
    spec: str
    calibration: str | None = None


def check_menu(menu: Sequence[str]) -> None:
    """SpecError for a codec that can't be parsed, before anything is computed."""
    for title in menu:
        method = METHOD.search(title)
        if method and _DIGEST.fullmatch(method[1]):
            raise SpecError(
                f"codec {title}: name a method here, e.g. static@percentile-99.9; the bench calibrates itself"
            )
        parse_spec(METHOD.sub("static@" + "0" * 12, title))


class BoundaryCalibrator:
    """Calibrations of one boundary, each made once from `samples`, one mapping of tensors a frame.

    They are kept in the store, so that a deployment can name what was measured.
    `importance` measures the channels and the frequencies of a tensor, for `transform-weighted`.
    """

    def __init__(self, samples: Sequence[Frame], importance: Importance, store: Store) -> None:
        self._store = store
        self._samples = samples
        self._importance = importance
        self._digests: dict[str, str] = {}

    def entry(self, title: str) -> MenuEntry:
        """The menu's codec with its calibration, if it needs one. SpecError for an unknown method."""
        asked = METHOD.search(title)
        if asked is None:
            return MenuEntry(title, str(parse_spec(title)))
        method = asked[1]
        if method not in self._digests:
            names = [name for name, array in self._samples[0].items() if array.dtype == np.float32]
            parts = [self._calibration(name, method) for name in names]
            self._digests[method] = self._store.add_calibration(join_calibrations(parts))
        return MenuEntry(title, str(parse_spec(METHOD.sub(f"static@{self._digests[method]}", title))), method)

    def _calibration(self, name: str, method: str) -> Calibration:
        arrays = [contiguous_float32(frame[name], "calibration") for frame in self._samples]
        if method == "transform":
            return fit_transform(arrays, tensor=name)
        if method == "transform-weighted":
            channels, tones = self._importance(name)
            return fit_transform(arrays, tensor=name, importance=channels, tone_importance=tones)
        one_range = method.startswith("tensor-") or arrays[0].ndim < 2
        ranges_method = method.removeprefix("tensor-").replace("-", ":", 1)
        return calibrate(arrays, method=ranges_method, tensor=name, axis=None if one_range else 1)
