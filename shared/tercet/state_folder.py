"""The folder of what a node must still know after a restart: claimed by one process at a time.

Two processes with one state would acknowledge the same sequence numbers for different frames.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tercet.errors import SettingsError, UnavailableError
from tercet.identifiers import NodeId
from tercet.printable import printable

DEFAULT_ROOT = Path(".tercet/state")
_LOCK = "lock"


def default_state(node: NodeId) -> Path:
    """Where a node keeps its state unless told otherwise."""
    return DEFAULT_ROOT / node


@contextmanager
def claim_state(folder: Path) -> Iterator[Path]:
    """Make `folder` if it is not there, and hold it while entered. The system lets go of it when we die.

    Raises:
        UnavailableError: another process holds it.
        SettingsError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError(
            f"--state: cannot use {folder}: {error.strerror}; name a folder that can be written"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = printable(os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()) or "unknown"
            raise UnavailableError(
                f"the state in {folder} is in use by process {holder}: give every node a name or --state of its own"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield folder
    finally:
        os.close(descriptor)
