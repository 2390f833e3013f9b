"""The daemons of a Ray that this process has started: without either of them it is lost, whatever still answers."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

# The first keeps in its memory what Ray knows; the second starts and watches every worker of this machine.
_NAMES = ("gcs_server", "raylet")


class RayDaemons:
    """Of the Ray that `ray.init` has just started here; of a cluster that was joined there are none.

    From any thread.
    """

    def __init__(self) -> None:
        self._daemons: Mapping[str, psutil.Process] = {
            name: child
            for child in psutil.Process().children()
            if _lives(child) and (name := child.name()) in _NAMES
        }

    def dead(self) -> str | None:
        """Which of them has died, if one has."""
        return next((name for name, daemon in self._daemons.items() if not _lives(daemon)), None)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
