"""What a device keeps of its frames: a tally, a JSON line each, and the raw outputs if asked for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO

import numpy as np

from tercet.codecs.codec import Array
from tercet_device.shooting import ShotResult

log = logging.getLogger(__name__)


class Results:
    """Counts and writes results. Close it (or leave its `with`) to have everything on disk."""

    def __init__(self, lines: Path | None, outputs: Path | None) -> None:
        self.sent = self.answered = self.acknowledged = self.degraded = self.lost = 0
        self._outputs_path = outputs
        self._outputs: dict[str, Array] = {}
        self._lines: IO[str] | None = None
        if lines:
            lines.parent.mkdir(parents=True, exist_ok=True)
            self._lines = lines.open("w", encoding="utf-8")

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
