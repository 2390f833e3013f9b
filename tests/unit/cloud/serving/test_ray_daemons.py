"""A daemon of Ray's that has died is named, whether or not its parent has looked at its end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tercet_cloud.serving.ray_daemons import RayDaemons


def test_a_dead_daemon_is_named(tmp_path: Path) -> None:
    # A process goes by the name of its program.
    program = shutil.copy(shutil.which("sleep") or "sleep", tmp_path / "raylet")
    daemon = subprocess.Popen([program, "60"])
    try:
        daemons = RayDaemons()
        assert daemons.dead() is None
        daemon.kill()
        # Not waited for, so that it stays as a zombie.
        while daemons.dead() is None:
            pass
        assert daemons.dead() == "raylet"
    finally:
        daemon.kill()
        daemon.wait()
    assert daemons.dead() == "raylet"


def test_without_ray_none_is_missed() -> None:
    assert RayDaemons().dead() is None
