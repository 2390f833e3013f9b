"""A small disk for one process: a tmpfs in a mount namespace that dies with the process, in whatever way.

`python -m support.small_disk MEBIBYTES FOLDER MODULE [ARGUMENT…]` runs MODULE.main(FOLDER, ARGUMENTS) on it. Exit
status 77 if this machine does not let us have one.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_NEW_NAMESPACE = 0x00020000  # CLONE_NEWNS
_NEW_USER = 0x10000000  # CLONE_NEWUSER
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
NOT_ALLOWED = 77


def mount_small_disk(folder: Path, mebibytes: int) -> None:
    """Mount it, for this process and its children alone. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    if os.geteuid() == 0:
        call("unshare", _NEW_NAMESPACE)
    else:
        ids = f"0 {os.geteuid()} 1", f"0 {os.getegid()} 1"
        call("unshare", _NEW_NAMESPACE | _NEW_USER)
        for name, content in zip(("setgroups", "uid_map", "gid_map"), ("deny", *ids), strict=True):
            Path(f"/proc/self/{name}").write_bytes(content.encode())
    call("mount", b"none", b"/", None, ctypes.c_ulong(_PRIVATE), None)
    call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), f"size={mebibytes}m".encode())


def main(arguments: Sequence[str]) -> int:
    mebibytes, folder, module, *rest = arguments
    try:
        mount_small_disk(Path(folder), int(mebibytes))
    except OSError as error:
        print(error, file=sys.stderr)
        return NOT_ALLOWED
    importlib.import_module(module).main(Path(folder), rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
