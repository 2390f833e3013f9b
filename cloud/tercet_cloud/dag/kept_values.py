"""Results that outlive the cluster, as bytes: small ones in the run store, large ones in a folder by content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from tercet.errors import IntegrityError, NotFoundError
from tercet.limits import MIB
from tercet.on_disk import sync
from tercet.wall_clock import REAL_CLOCK

INLINE_BYTES = MIB


class ValueFolder:
    """Bytes by sha256. Safe for many writers: equal content is written once, whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Write and synchronise; returns the address. Then it outlives a loss of power, whoever wrote it."""
        address = hashlib.sha256(data).hexdigest()
        path = self._path(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # It is wanted again: `addresses` must not take it for left over.
            os.utime(path)
            whole = path.stat().st_size == len(data)
        except FileNotFoundError:
            whole = False
        if not whole:
            _write(path, data)
        # Also of what another has just written, or may have left behind before it did this.
        for folder in (path.parent, self._root):
            sync(folder)
        return address

    def get(self, address: str) -> bytes:
        """NotFoundError, or IntegrityError if its content is not its name."""
        path = self._path(address)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{path} is missing: {error.strerror}; run the pipeline anew") from error
        if hashlib.sha256(data).hexdigest() != address:
            raise IntegrityError(f"{path} does not have the content it is named for; run the pipeline anew")
        return data

    def addresses(self, untouched_s: float) -> list[str]:
        """Of what was last put so many seconds ago or more."""
        before_s = REAL_CLOCK.now_us() / 1e6 - untouched_s
        found = []
        for path in self._root.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.suffix != ".tmp" and path.stat().st_mtime <= before_s:
                    found.append(path.name)
        return found

    def remove(self, address: str) -> None:
        self._path(address).unlink(missing_ok=True)

    def _path(self, address: str) -> Path:
        return self._root / address[:2] / address


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
