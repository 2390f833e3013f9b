"""Which photos a device sends, and in what order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tercet.errors import InputError
from tercet.plans import Plan

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


@dataclass(frozen=True)
class Shot:
    """One frame to send: a photo by a plan, or by whichever plan is best then."""

    photo: Path
    plan: Plan | None


def find_photos(sources: Iterable[Path]) -> list[Path]:
    """Photos named, and those in folders named, in order. InputError if one is missing or a folder has none."""
    photos: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f"{source} holds no photo ({', '.join(sorted(SUFFIXES))})")
            photos.extend(found)
        elif source.is_file():
            photos.append(source)
        else:
            raise InputError(f"{source}: no such photo or folder")
    return photos


def schedule_shots(photos: Sequence[Path], plans: Sequence[Plan | None], frames: int) -> Iterator[Shot]:
    """Each photo by each plan in turn; `frames` shots, or 0 for one round."""
    shots = [Shot(photo, plan) for photo in photos for plan in plans]
    return itertools.islice(itertools.cycle(shots), frames) if frames and shots else iter(shots)
