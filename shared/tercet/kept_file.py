"""One small file that survives power cuts: after a write it is the new one, before it the old one, never a part.

The first line is the sha256 of the rest, so that a file that a disk has damaged is not taken for what was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from tercet.errors import IntegrityError, UnavailableError
from tercet.on_disk import sync

_DIGEST_BYTES = 64


def write_kept(path: Path, data: bytes) -> None:
    """Return once `data` is on the disk under `path`; folders are made. UnavailableError if it cannot be."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UnavailableError(f"{path} cannot be written: {error.strerror or error}") from error


def read_kept(path: Path, most_bytes: int) -> bytes | None:
    """What was written; None if nothing was.

    Raises:
        IntegrityError: the file is not as it was written, or has more than `most_bytes`.
        UnavailableError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + _DIGEST_BYTES + 2)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror or error}") from error
    data = content[_DIGEST_BYTES + 1 :]
    if len(data) > most_bytes or content[: _DIGEST_BYTES + 1] != hashlib.sha256(data).hexdigest().encode() + b"\n":
        raise IntegrityError(f"{path} is not as it was written: delete it")
    return data


def forget_kept(path: Path) -> None:
    """Remove the file, if there is one. Returns once it is gone from the disk too; UnavailableError if it stays."""
    try:
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync(path.parent)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be removed: {error.strerror or error}") from error
