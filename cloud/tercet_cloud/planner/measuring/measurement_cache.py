"""What was measured once and need not be again: documents on disk, each named by what it depends on.

A key names everything a figure depends on: the model, the frames, the codecs, the versions of the packages that
compute it, and for times the machine. Anything else in any of these gives another file, so nothing here goes stale;
`tercet plan` measures anew when told to, and the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tercet.documents import DocumentT, parse_document, write_atomically
from tercet.errors import SpecError

FOLDER = "measurements"
_PACKAGES = ("tercet", "numpy", "onnxruntime", "zstandard", "constriction", "pillow")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeasurementCache:
    """Documents in one folder. With `refresh` nothing is found, only kept."""

    folder: Path
    refresh: bool = False

    def recall(self, kind: type[DocumentT], key: Mapping[str, object]) -> DocumentT | None:
        """What was kept under this key; None if there is nothing, or nothing that can be read."""
        path = self._path(kind, key)
        if self.refresh or not path.exists():
            return None
        try:
            return parse_document(kind, json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError, SpecError) as error:
            log.warning("kept measurement is damaged, measuring again", extra={"reason": str(error)})
            return None

    def keep(self, document: DocumentT, key: Mapping[str, object]) -> None:
        write_atomically(self._path(type(document), key), document.model_dump_json().encode())

    def _path(self, kind: type[DocumentT], key: Mapping[str, object]) -> Path:
        text = json.dumps({**key, "versions": package_versions()}, sort_keys=True)
        return self.folder / f"{kind.__name__}-{hashlib.sha256(text.encode()).hexdigest()}.json"


def package_versions() -> dict[str, str]:
    """Of the packages whose results are kept; "" for one that is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def this_machine() -> str:
    """What tells machines apart whose times are not to be mixed up."""
    return f"{platform.node()} {platform.machine()} {os.cpu_count()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
