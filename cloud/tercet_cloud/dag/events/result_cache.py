"""Results by content: of a node that says `reuse`, equal inputs are answered from here, in any run of any pipeline.

A file a result, named by the digest of what was called with what; workers read and write it themselves. It begins
with the digest of what follows: a damaged file is as good as none. Files that nobody asked for longest go first
when the folder is full.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from tercet.documents import write_atomically
from tercet.limits import MIB
from tercet_cloud.dag.call import Call
from tercet_cloud.dag.events.content import digest_of
from tercet_cloud.dag.model_content import model_content

log = logging.getLogger(__name__)

MAX_BYTES = 1024 * MIB
# How often a writer looks how full the folder is: after so many bytes of its own.
_LOOK_EVERY_BYTES = 16 * MIB
_LEFT_SHARE = 0.8
_DIGEST_BYTES = 32


class ResultCache:
    """Bytes by key. Safe for many processes: a file is there whole or not at all."""

    def __init__(self, root: Path, max_bytes: int = MAX_BYTES) -> None:
        self._root, self._max_bytes = root, max_bytes
        self._unseen_bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """None if it is not here, or was damaged: then it is gone."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("a kept result cannot be read", extra={"reason": str(error)})
            return None
        digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if sha256(content).digest() != digest:
            log.warning("a kept result is damaged", extra={"path": str(path)})
            self.discard(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return content

    def discard(self, key: str) -> None:
        """Forget a result that is of no use."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def put(self, key: str, data: bytes) -> None:
        """Keep a result; one that cannot be kept is computed again some day."""
        if len(data) > self._max_bytes:
            return
        try:
            write_atomically(self._path(key), sha256(data).digest() + data)
        except OSError as error:
            log.warning("a result cannot be kept", extra={"reason": str(error)})
            return
        with self._lock:
            self._unseen_bytes += len(data)
            due = self._unseen_bytes >= min(_LOOK_EVERY_BYTES, self._max_bytes // 4)
            if due:
                self._unseen_bytes = 0
        if due:
            self._shrink()

    def _shrink(self) -> None:
        found = []
        for path in self._root.glob("*/*"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size, path))
        left = sum(size for _, size, _ in found)
        if left <= self._max_bytes:
            return
        for _, size, path in sorted(found, key=lambda one: one[0]):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                left -= size
            if left <= self._max_bytes * _LEFT_SHARE:
                return

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / key


def call_key(call: Call, arguments: Mapping[str, Any]) -> str:
    """What was called with what, in which order. Not where, how often or under which name.

    A model counts by its content, a function by its name. NotFoundError for a model that is not there.
    """
    return digest_of(
        call.kind,
        call.target,
        model_content(call),
        call.plan,
        call.returns,
        dict(call.options),
        dict(arguments),
        ordered=True,
    )
