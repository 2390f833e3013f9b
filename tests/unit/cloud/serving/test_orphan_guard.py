from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from support.processes import alive
from tercet_cloud.serving.orphan_guard import MARKER, OrphanGuard, end_workers

SLEEPER = "import signal, time; print(flush=True); time.sleep(60)"
DEAF_SLEEPER = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"

# Enters a guard, starts a child that would outlive it, tells both and waits to be killed.
GUARDED = f"""
import os, subprocess, sys, time
from tercet_cloud.serving.orphan_guard import MARKER, OrphanGuard
with OrphanGuard() as guard:
    child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], env=dict(os.environ, {MARKER}=str(guard.folder)),
                             stdout=subprocess.DEVNULL, start_new_session=True)
    print(child.pid, guard.folder, flush=True)
    time.sleep(60)
"""


@contextmanager
def python(program: str, folder: Path | None = None) -> Iterator[tuple[psutil.Process, str]]:
    """A Python process and the first line it printed; killed on any exit."""
    environment = dict(os.environ, **({MARKER: str(folder)} if folder else {}))
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield psutil.Process(process.pid), process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_only_processes_that_work_in_the_folder_are_ended(tmp_path: Path) -> None:
    marked, other = tmp_path / "marked", tmp_path / "other"
    with python(SLEEPER, marked) as (ours, _), python(SLEEPER, other) as (theirs, _), python(SLEEPER) as (plain, _):
        assert end_workers(marked) == []
        assert alive([ours], within_s=0) == []
        assert len(alive([theirs, plain], within_s=0)) == 2


def test_a_process_that_lost_its_environment_is_known_by_the_file_it_writes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with (
        python(f"log = open({str(log)!r}, 'a'); {SLEEPER}") as (writer, _),
        python(f"log = open({str(log)!r}); {SLEEPER}") as (reader, _),
    ):
        assert end_workers(tmp_path) == []
        assert alive([writer], within_s=0) == []
        assert len(alive([reader], within_s=0)) == 1


def test_spared_processes_are_left_alone(tmp_path: Path) -> None:
    with python(SLEEPER, tmp_path) as (spared, _):
        assert end_workers(tmp_path, {spared.pid}) == []
        assert len(alive([spared], within_s=0)) == 1


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with python(DEAF_SLEEPER, tmp_path) as (deaf, _):
        assert end_workers(tmp_path) == []
        assert alive([deaf], within_s=5) == []


def test_leaving_the_guard_ends_what_is_left_and_removes_the_folder() -> None:
    with OrphanGuard() as guard:
        assert guard.folder.stat().st_mode & 0o077 == 0
        environment = dict(os.environ, **{MARKER: str(guard.folder)})
        child = subprocess.Popen([sys.executable, "-c", SLEEPER], env=environment, stdout=subprocess.DEVNULL)
    assert child.wait(5) < 0
    assert not guard.folder.exists()


def test_a_killed_process_leaves_no_orphan() -> None:
    with python(GUARDED) as (guarded, line):
        child_pid, folder = line.split()
        left = [psutil.Process(int(child_pid)), *guarded.children(recursive=True)]
        guarded.kill()
        assert alive(left, within_s=15) == []
        assert not Path(folder).exists()
