"""HiGHS prints lines of its own to the process's standard output, which is ours: tables and JSON go there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OUTPUT = 1


@contextmanager
def solver_silenced() -> Iterator[None]:
    """For as long as it lasts, standard output of the whole process, other threads included, goes nowhere."""
    sys.stdout.flush()
    kept = os.dup(_OUTPUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _OUTPUT)
        yield
    finally:
        os.dup2(kept, _OUTPUT)
        os.close(kept)
        os.close(nowhere)
