"""What a device keeps of its frames: a tally, a JSON line each, and the raw outputs if asked for."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import IO

import numpy as np

from tercet.codecs.codec import Array
from tercet_device.shooting import ShotResult

log = logging.getLogger(__name__)


class Results:
    """Counts and writes results. Close it (or leave its `with`) to have everything on disk.

    Args:
        lines: file for a line each.
        outputs: file for all raw outputs.
        keep: add to the lines that are there: what was acknowledged before a restart still is.
    """

    def __init__(self, lines: Path | None, outputs: Path | None, *, keep: bool = False) -> None:
        self.sent = self.answered = self.acknowledged = self.degraded = self.lost = 0
        self._outputs_path = outputs
        self._outputs: dict[str, Array] = {}
        self._lines: IO[str] | None = None
        if lines:
            lines.parent.mkdir(parents=True, exist_ok=True)
            self._lines = lines.open("a" if keep else "w", encoding="utf-8")
            if keep and _cut_short(lines):
                # By a kill in the middle of a line.
                self._lines.write("\n")

    def add(self, result: ShotResult) -> None:
        """Count one frame; a lost one is named in the log."""
        record = result.record
        self.sent += 1
        if record.acknowledged:
            self.acknowledged += 1
        elif record.error is None:
            self.answered += 1
            self.degraded += record.degraded
        else:
            self.lost += 1
            log.error(
                "frame lost",
                extra={"sequence": record.sequence, "source": record.source, "reason": record.error},
            )
        if self._lines:
            self._lines.write(record.model_dump_json() + "\n")
            self._lines.flush()
        if self._outputs_path and result.outputs:
            for name, array in result.outputs.items():
                self._outputs[f"{record.sequence}/{name}"] = array

    def close(self) -> None:
        if self._lines:
            self._lines.close()
        if self._outputs_path:
            np.savez(self._outputs_path, **self._outputs)  # type: ignore[arg-type]

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_short(lines: Path) -> bool:
    with lines.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        if not size_bytes:
            return False
        file.seek(size_bytes - 1)
        return file.read(1) != b"\n"
