"""Which codecs a planner chooses among, and fitting those that need a calibration: one for all places to cut.

The default menu follows docs/benchmarks-codecs.md. zstd at level 3 stands for 19: a few hundredths more bytes at a
tenth of the time. Two qualities of `klt`, because it is what wins at narrow places. For photos PNG loses nothing,
and JPEG and WebP are what everybody would compare with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from tercet.codecs import parse_spec
from tercet.codecs.image import is_image_codec
from tercet.codecs.spec import split_spec
from tercet.codecs.transform_calibration import MAX_MIXED_CHANNELS
from tercet.errors import SpecError
from tercet.models.store import Store
from tercet_cloud.measurement.codec_menu import METHOD, BoundaryCalibrator, Importance, check_menu
from tercet_cloud.measurement.split_runner import Frame
from tercet_cloud.models.boundaries import block_ends
from tercet_cloud.models.graph import OnnxGraph
from tercet_cloud.planner.measuring.coding_table import MenuCodec

DEFAULT_MENU = (
    "raw",
    "fp16",
    "int8",
    "int8+zstd",
    "int6+zstd:3",
    "int4+zstd:3",
    "klt:5:static@transform-weighted",
    "klt:2:static@transform-weighted",
    "png",
    "jpeg:95",
    "jpeg:85",
    "webp:90",
    "webp:75",
)
_EXACT_STAGES = frozenset({"raw", "zstd", "png"})
# Fitting one takes some 20 ms, and the calibration that deploys it up to a megabyte.
MAX_FITTED = 40
# A place so many times as wide as the narrowest before it is not where one would cut.
_TOO_WIDE = 1.5


def needs_calibration(menu: Sequence[str]) -> bool:
    """Whether anything of a menu has to be fitted."""
    return any(METHOD.search(title) for title in menu)


def resolve_menu(
    menu: Sequence[str], samples: Sequence[Frame], store: Store, importance: Importance | None = None
) -> tuple[MenuCodec, ...]:
    """The menu's codecs as they cross the wire, `static@METHOD` replaced by calibrations that are made here.

    Codecs that have to be fitted are left out if there is nothing to fit them for.

    Args:
        menu: as for `check_menu`; no calibrations by digest.
        samples: the tensors to fit, by name, of each calibration frame. Each method's fits are joined into one
            calibration, kept in `store`, so that one specification serves all of these tensors.
        importance: needed for the method `transform-weighted` only.
    Returns:
        titles without `static@…` where that leaves them different.
    Raises:
        SpecError: a codec that cannot be parsed or fitted.
    """
    check_menu(menu)
    calibrator = BoundaryCalibrator(samples, importance or _no_importance, store)
    titles = _short_titles(menu)
    codecs: list[MenuCodec] = []
    for asked, title in zip(menu, titles, strict=True):
        if METHOD.search(asked) and not any(samples):
            continue
        spec = calibrator.entry(asked).spec
        codecs.append(
            MenuCodec(title=title, spec=spec, lossless=is_lossless(spec), image=is_image_codec(parse_spec(spec)))
        )
    return tuple(codecs)


def is_lossless(spec: str) -> bool:
    """Whether every tensor comes back bit by bit. PNG: for tensors that were made from 8-bit pixels."""
    return all(stage.name in _EXACT_STAGES for stage in split_spec(spec))


def tensors_to_fit(graph: OnnxGraph, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The tensors that static codecs are worth fitting for: where one float32 (N, C, H, W) tensor crosses alone.

    No larger than the model's inputs, nor much wider than the narrowest place before it; at most `MAX_FITTED`, the
    smallest, in data-flow order.

    Args:
        shapes: of each tensor, for one frame.
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    narrowest = sum(sizes.get(name, 0) for name in graph.inputs)
    chosen: list[str] = []
    for name in block_ends(graph):
        shape = shapes.get(name, ())
        if not _is_mixable(shape) or graph.types.spec(name).dtype != "float32":
            continue
        if sizes[name] >= narrowest * _TOO_WIDE:
            continue
        if sizes[name] <= sum(sizes.get(name, 0) for name in graph.inputs):
            chosen.append(name)
        narrowest = min(narrowest, sizes[name])
    kept = set(sorted(chosen, key=lambda name: sizes[name])[:MAX_FITTED])
    return tuple(name for name in chosen if name in kept)


def _is_mixable(shape: tuple[int, ...]) -> bool:
    """(N, C, H, W) with places and channels for `klt` to make use of."""
    return len(shape) == 4 and shape[2] * shape[3] > 1 and shape[1] <= MAX_MIXED_CHANNELS


def _short_titles(menu: Sequence[str]) -> list[str]:
    short = [re.sub(":" + METHOD.pattern, "", asked) for asked in menu]
    return [title if short.count(title) == 1 else asked for title, asked in zip(short, menu, strict=True)]


def _no_importance(tensor: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    raise SpecError(
        f"transform-weighted needs the importance of {tensor}'s channels, which is not measured here: use transform"
    )
