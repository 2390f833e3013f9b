"""The frames that codecs and plans are measured on: one set to calibrate with, another to judge by.

Photos for models that take photos, arrays of a file for others; made-up numbers only where nothing else is given,
and then with a warning. The same arguments give the same frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from tercet.errors import SpecError
from tercet.models.card import ImageInput, ModelCard
from tercet.models.photos import read_photo
from tercet_cloud.measurement.input_arrays import random_frames, read_frames
from tercet_cloud.measurement.input_shapes import Shape, bind_shapes
from tercet_cloud.measurement.labelled_photos import labelled_paths, photo_crops, photo_paths
from tercet_cloud.measurement.sample_photos import read_photos
from tercet_cloud.measurement.split_runner import Frame
from tercet_cloud.models.graph import OnnxGraph

CALIBRATION_FRAMES = 32
# Without a single disagreement these show a drop of at most 1.3 % (`drop_bound`).
EVALUATION_FRAMES = 240
# Of one set's inputs; a set of larger frames has fewer of them.
MAX_SET_BYTES = 512 << 20
# One photo in so many calibrates, the others are judged by.
_CALIBRATING_SHARE = 4

# Those with a subject that ImageNet has a name for are judged by: of others a classifier is not sure uncut either.
_CALIBRATION_PHOTOS = ("astronaut", "coins", "retina", "rocket", "tissue")
_EVALUATION_PHOTOS = ("camera", "chelsea", "china", "coffee", "flower", "motorcycle")

Labels = npt.NDArray[np.int64]
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class FrameSet:
    """Inputs of the model, one mapping of tensors by name a frame.

    `description` says in a few words what they are; `labels` (frames, …) are class indices, or for a model that
    reads text the indices of its characters, filled up with -1; None without labels.
    """

    description: str
    frames: tuple[Frame, ...]
    labels: Labels | None = None

    @cached_property
    def digest(self) -> str:
        """sha256 of everything in the frames and labels, in hex."""
        found = hashlib.sha256()
        arrays = [item for frame in self.frames for item in frame.items()]
        for name, array in [*arrays, *([] if self.labels is None else [("labels", self.labels)])]:
            found.update(f"{name} {array.dtype} {array.shape};".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


@dataclass(frozen=True)
class SampleFrames:
    """`warnings` are for people: what makes figures from these frames worth less than they look."""

    calibration: FrameSet
    evaluation: FrameSet
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameSource:
    """Where frames come from: the options of the command.

    Attributes:
        photos: folder, for models that take photos; None: the sample photos.
        labelled: the names of `photos` end in …_LABEL, the index of the class.
        inputs: NPZ file, for models that take tensors; None: random numbers.
        shapes: by input, what `--shape` binds free axes to.
        evaluation_frames: how many to judge by; files may hold fewer.
    """

    photos: Path | None = None
    labelled: bool = False
    inputs: Path | None = None
    shapes: Mapping[str, Shape] | None = None
    evaluation_frames: int = EVALUATION_FRAMES
    seed: int = 0


def sample_frames(card: ModelCard, graph: OnnxGraph, source: FrameSource) -> SampleFrames:
    """Frames of one model.

    Raises:
        SpecError: an option that this kind of model has no use for, or an input's axis that is free.
        InputError: photos or arrays that cannot be read, or are not what the model takes.
        MissingExtraError: no `source.photos`, and the packages with the sample photos are not installed.
    """
    if isinstance(card.input, ImageInput):
        if source.inputs is not None or source.shapes:
            raise SpecError(f"model {card.name} takes photos: give --photos FOLDER, not --inputs or --shape")
        return _photo_frames(card, card.input, source)
    if source.photos is not None:
        raise SpecError(f"model {card.name} takes tensors, no photos: give --inputs FILE.npz")
    if source.inputs is None:
        return _random_frames(graph, source)
    frames, labels = read_frames(source.inputs, graph)
    if source.shapes:
        raise SpecError("give --shape or --inputs: the arrays of a file have their shapes")
    return _split_arrays(source, frames, labels)


def _photo_frames(card: ModelCard, spec: ImageInput, source: FrameSource) -> SampleFrames:
    count = _affordable(3 * spec.size**2 * 4, source.evaluation_frames)
    if source.photos is None:
        photos = read_photos((*_CALIBRATION_PHOTOS, *_EVALUATION_PHOTOS))
        return SampleFrames(
            _crop_set(_CALIBRATION_PHOTOS, photos, spec, CALIBRATION_FRAMES, source.seed, "sample photos"),
            _crop_set(_EVALUATION_PHOTOS, photos, spec, count, source.seed + 1, "sample photos"),
        )
    labels: Mapping[Path, int] = {}
    if source.labelled:
        if card.task != "classification":
            raise SpecError(f"labels of photos are classes, but {card.name} does {card.task}: leave out --labelled")
        labels = labelled_paths(source.photos, len(card.labels or ()))
    paths = list(labels) or photo_paths(source.photos)
    calibrating, evaluating = _split(paths)
    chosen = _spread(evaluating, count)
    where = f"photos in {source.photos.name}"
    made = [
        _crop_set(part, {path: read_photo(path) for path in part}, spec, frames, source.seed + number, where)
        for number, (part, frames) in enumerate(
            ((_spread(calibrating, CALIBRATION_FRAMES), CALIBRATION_FRAMES), (chosen, count))
        )
    ]
    if labels:
        repeated = [
            labels[path]
            for path, crops in zip(chosen, _shares(count, len(chosen)), strict=True)
            for _ in range(crops)
        ]
        made[1] = FrameSet(f"{made[1].description}, labelled", made[1].frames, np.array(repeated, np.int64))
    return SampleFrames(made[0], made[1], _same_frames_warning(len(paths), "photo"))


def _crop_set(
    names: Sequence[ItemT], photos: Mapping[ItemT, Image.Image], spec: ImageInput, count: int, seed: int, where: str
) -> FrameSet:
    crops = photo_crops([photos[name] for name in names], _shares(count, len(names)), spec, seed)
    description = f"{len(crops)} crops of {len(names)} {where} (seed {seed})"
    return FrameSet(description, tuple({spec.tensor: crop} for crop in crops))


def _random_frames(graph: OnnxGraph, source: FrameSource) -> SampleFrames:
    shapes = bind_shapes(graph, source.shapes or {})
    frame_bytes = 4 * sum(prod(shape) for shape in shapes.values())
    count = _affordable(frame_bytes, source.evaluation_frames)
    frames = random_frames(graph, shapes, CALIBRATION_FRAMES + count, source.seed)
    return SampleFrames(
        FrameSet(f"{CALIBRATION_FRAMES} random inputs (seed {source.seed})", frames[:CALIBRATION_FRAMES]),
        FrameSet(f"{count} random inputs (seed {source.seed})", frames[CALIBRATION_FRAMES:]),
        ("random inputs: bytes and accuracy mean little; give real ones with --inputs FILE.npz",),
    )


def _split_arrays(source: FrameSource, frames: tuple[Frame, ...], labels: Labels | None) -> SampleFrames:
    calibrating, evaluating = _split(range(len(frames)))
    size = sum(array.nbytes for array in frames[0].values())
    calibrating = _spread(calibrating, CALIBRATION_FRAMES)
    evaluating = _spread(evaluating, _affordable(size, source.evaluation_frames))
    where = f"frames of {source.inputs.name}" if source.inputs else "frames"
    return SampleFrames(
        FrameSet(f"{len(calibrating)} {where}", tuple(frames[index] for index in calibrating)),
        FrameSet(
            f"{len(evaluating)} {where}",
            tuple(frames[index] for index in evaluating),
            None if labels is None else labels[list(evaluating)],
        ),
        _same_frames_warning(len(frames), "frame"),
    )


def _split(items: Sequence[ItemT]) -> tuple[list[ItemT], list[ItemT]]:
    """A few of them, and the others; the same one twice if there is no other."""
    calibrating = list(items[::_CALIBRATING_SHARE])
    evaluating = [item for index, item in enumerate(items) if index % _CALIBRATING_SHARE]
    return calibrating, evaluating or calibrating


def _same_frames_warning(count: int, what: str) -> tuple[str, ...]:
    if count > 1:
        return ()
    return (f"only one {what}: codecs are calibrated on what they are judged by, give at least two",)


def _spread(items: Sequence[ItemT], count: int) -> list[ItemT]:
    """At most `count` of them, evenly over all."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _shares(count: int, parts: int) -> list[int]:
    """`count` dealt to `parts` as evenly as can be."""
    return [count // parts + (index < count % parts) for index in range(parts)]


def _affordable(frame_bytes: int, wanted: int) -> int:
    return max(1, min(wanted, MAX_SET_BYTES // max(1, frame_bytes)))
