"""HiGHS prints lines of its own to the process's standard output, which is ours: tables and JSON go there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OUTPUT, _ERRORS = 1, 2


@contextmanager
def solver_silenced() -> Iterator[None]:
    """For as long as it lasts, what this process writes to standard output goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(_OUTPUT)
    try:
        os.dup2(_ERRORS, _OUTPUT)
        yield
    finally:
        os.dup2(kept, _OUTPUT)
        os.close(kept)
