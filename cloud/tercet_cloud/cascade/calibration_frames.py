"""The frames a cascade is calibrated on, one at a time: photos as a device would take them, or arrays of a file.

Where there are fewer photos than frames, further frames are random crops of them, and a warning says so: crops of
one photo are alike, so the certificate then speaks of such crops only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tercet.errors import SpecError
from tercet.models.card import ImageInput, ModelCard
from tercet.models.photos import preprocess, read_photo
from tercet_cloud.measurement.input_arrays import read_frames
from tercet_cloud.measurement.labelled_photos import SMALLEST_SHARE, labelled_paths, photo_paths
from tercet_cloud.measurement.sample_photos import photo_crop, read_photos
from tercet_cloud.measurement.split_runner import Frame
from tercet_cloud.models.graph import OnnxGraph

SAMPLE_FRAMES = 1000

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FrameOptions:
    """The command's: `photos` or `inputs`, neither for sample photos; `frames` 0 for as many as there are."""

    photos: Path | None = None
    inputs: Path | None = None
    labelled: bool = False
    frames: int = 0
    seed: int = 0


@dataclass
class CalibrationFrames:
    """`len` frames, in the form of the cascade's last stage.

    Attributes:
        description: what they are, in a few words.
        labels: (frames,) class indices, if asked for.
        warnings: for people.
    """

    description: str
    labels: Labels | None = None
    warnings: tuple[str, ...] = ()
    _arrays: tuple[Frame, ...] = ()
    _photos: Sequence[Path | Image.Image] = ()
    _spec: ImageInput | None = None
    # By frame: which photo, and which of its crops.
    _crops: list[tuple[int, int]] = field(default_factory=list)
    _seed: int = 0

    def __len__(self) -> int:
        return len(self._crops) or len(self._arrays)

    def pick(self, indices: Iterable[int]) -> Iterator[Frame]:
        """These frames, in their order; quickest ascending."""
        if self._spec is None:
            yield from (self._arrays[index] for index in indices)
            return
        place, photo = -1, None
        for index in indices:
            number, crop = self._crops[index]
            if photo is None or number != place:
                place, photo = number, self._open(number)
            shown = photo
            if crop:
                shown = photo_crop(photo, np.random.default_rng([self._seed, index]), SMALLEST_SHARE)
            yield {self._spec.tensor: preprocess(shown, self._spec)}

    def _open(self, number: int) -> Image.Image:
        photo = self._photos[number]
        return read_photo(photo) if isinstance(photo, Path) else photo


def calibration_frames(card: ModelCard, graph: OnnxGraph, options: FrameOptions) -> CalibrationFrames:
    """Frames for the last stage's card.

    Raises:
        SpecError: options that do not go with the model, or no frames for one that takes tensors.
        InputError: photos or arrays that cannot be read, or without labels where they are asked for.
    """
    if isinstance(card.input, ImageInput):
        if options.inputs is not None:
            raise SpecError(f"model {card.name} takes photos: give --photos FOLDER, not --inputs")
        return _photo_frames(card, card.input, options)
    if options.photos is not None:
        raise SpecError(f"model {card.name} takes tensors, no photos: give --inputs FILE.npz")
    if options.inputs is None:
        raise SpecError(f"model {card.name} takes tensors: give real ones with --inputs FILE.npz")
    frames, labels = read_frames(options.inputs, graph)
    if options.labelled and labels is None:
        raise SpecError(f"--labels: {options.inputs} has no array `labels`")
    chosen = _spread(len(frames), options.frames)
    return CalibrationFrames(
        f"{len(chosen)} frames of {options.inputs.name}",
        labels[chosen] if options.labelled and labels is not None else None,
        _arrays=tuple(frames[index] for index in chosen),
    )


def _photo_frames(card: ModelCard, spec: ImageInput, options: FrameOptions) -> CalibrationFrames:
    photos: Sequence[Path | Image.Image]
    of_photo: list[int] | None = None
    warnings: tuple[str, ...] = ()
    if options.photos is None:
        if options.labelled:
            raise SpecError("--labels: the sample photos have none; give --photos FOLDER with …_LABEL.jpg")
        photos, where = list(read_photos().values()), "sample photos"
    elif options.labelled:
        labelled = labelled_paths(options.photos, len(card.labels or ()))
        photos, of_photo, where = list(labelled), list(labelled.values()), f"photos in {options.photos.name}"
    else:
        photos, where = photo_paths(options.photos), f"photos in {options.photos.name}"
    count = options.frames or (SAMPLE_FRAMES if options.photos is None else len(photos))
    if count <= len(photos):
        chosen = _spread(len(photos), count)
        crops = [(number, 0) for number in chosen]
        description = f"{count} {where}"
    else:
        crops = sorted((index % len(photos), index // len(photos)) for index in range(count))
        description = f"{count} crops of {len(photos)} {where}"
        warnings = (
            f"{count} frames are crops of only {len(photos)} photos, and crops of one photo are alike: the "
            "certificates hold for such crops, not for photos in general; give more with --photos",
        )
    labels = None if of_photo is None else np.array([of_photo[number] for number, _ in crops], np.int64)
    return CalibrationFrames(
        description, labels, warnings, _photos=photos, _spec=spec, _crops=crops, _seed=options.seed
    )


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices below `count`, evenly; all of them for 0."""
    if not wanted or wanted >= count:
        return list(range(count))
    return [index * count // wanted for index in range(wanted)]
