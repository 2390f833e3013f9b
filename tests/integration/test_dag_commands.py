"""`tercet pipeline` as real processes: a run as a person begins it, and one whose Ray is killed under it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.processes import TERCET

STEPS = """
import time
from pathlib import Path

def noted(x: float, trace: str, idempotency_key: str) -> float:
    with Path(trace).open("a") as file:
        file.write(idempotency_key + chr(10))
    print("noted", x)
    return x + 1

def gate(x: float, trace: str) -> float:
    while not Path(trace + ".go").exists():
        time.sleep(0.05)
    return x
"""
PIPELINE = """
name: counted
inputs: {trace: text}
nodes:
  first: {call: its_steps:noted, options: {x: 1}, needs: {trace: input.trace}}
  gate: {call: its_steps:gate, needs: {x: first, trace: input.trace}}
  last: {call: its_steps:noted, needs: {x: gate, trace: input.trace}}
"""
WAIT_S = 120.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "its_steps.py").write_text(STEPS)
    (tmp_path / "counted.yaml").write_text(PIPELINE)
    return tmp_path


def tercet(folder: Path, *arguments: str, status: int = 0) -> str:
    ended = subprocess.run(
        [TERCET, "pipeline", *arguments], cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout if status == 0 else ended.stderr


def run_of(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tercet(folder, "show", name, "--json"))
    return found


def test_a_run_whose_ray_is_killed_says_so_and_goes_on_by_retry(folder: Path) -> None:
    trace = folder / "trace"
    with (folder / "run.log").open("w") as log:
        running = subprocess.Popen(
            [
                TERCET,
                "pipeline",
                "run",
                "counted.yaml",
                "--input",
                f"trace={trace}",
                "--name",
                "r",
                "--workers",
                "1",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            deadline_s = time.monotonic() + WAIT_S
            while not trace.exists():
                assert running.poll() is None, (folder / "run.log").read_text()
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
            time.sleep(2)
            for process in psutil.Process(running.pid).children(recursive=True):
                process.kill()
            assert running.wait(WAIT_S) != 0
        finally:
            running.kill()
            running.wait()
    assert "tercet: " in (folder / "run.log").read_text()
    Path(f"{trace}.go").touch()
    answer = json.loads(tercet(folder, "retry", "r", "--json", "--workers", "1"))
    assert (answer["state"], answer["outputs"]) == ("done", {"last": 3})
    assert trace.read_text().split() == ["r/first", "r/last"]
    shown = run_of(folder, "r")
    assert [node["state"] for node in shown["nodes"]] == ["done"] * 3
    tercet(folder, "show", "r", "--svg", "graph.svg", "--gantt", "times.svg")
    assert (folder / "graph.svg").read_text().startswith("<svg")
    assert "noted 1" in tercet(folder, "logs", "r")
    assert "there is nothing to run again" in tercet(folder, "retry", "r", status=65)
    assert "has ended already" in tercet(folder, "cancel", "r", status=65)


def test_what_is_wrong_with_a_file_or_an_input_is_said_before_anything_starts(folder: Path) -> None:
    assert "counted: " not in tercet(folder, "check", "counted.yaml")
    (folder / "bad.yaml").write_text(PIPELINE.replace("x: gate", "x: gaet"))
    assert "bad.yaml:7: nodes.last.needs.x: there is no node gaet" in tercet(folder, "check", "bad.yaml", status=65)
    assert "needs --input trace=" in tercet(folder, "run", "counted.yaml", status=66)
    assert "no runs are kept" in tercet(folder, "list", status=66)
    assert "--detach needs --ray-address" in tercet(
        folder, "run", "counted.yaml", "--input", "trace=x", "--detach", status=78
    )
