"""OpenCV and Clipper, or an error that says what to install."""

from __future__ import annotations

from tercet.errors import MissingExtraError

try:
    import cv2
    import pyclipper
except ImportError as error:
    raise MissingExtraError(
        f"reading text needs the package {error.name}: run `pip install 'tercet[ocr]'`"
    ) from error

__all__ = ["cv2", "pyclipper"]
