"""One process a state folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tercet.errors import SettingsError, UnavailableError
from tercet.state_folder import claim_state

HOLD = """
import sys, time
from pathlib import Path
from tercet.state_folder import claim_state
with claim_state(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_made_and_can_be_claimed_again_after_it_was_left(tmp_path: Path) -> None:
    for _ in range(2):
        with claim_state(tmp_path / "a" / "b") as folder:
            assert folder.is_dir()


def test_a_second_claim_names_the_first_and_the_way_out(tmp_path: Path) -> None:
    with (
        claim_state(tmp_path),
        pytest.raises(UnavailableError, match=f"process {os.getpid()}.*--state"),
        claim_state(tmp_path),
    ):
        pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError, match=f"process {process.pid}"), claim_state(tmp_path):
            pass
        process.kill()
        process.wait(10)
        with claim_state(tmp_path):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--state: cannot use .*file/x"), claim_state(tmp_path / "file" / "x"):
        pass
